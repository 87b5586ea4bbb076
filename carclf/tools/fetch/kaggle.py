"""Competitions and data sets of Kaggle, by kagglehub: its credentials, its routes, its errors; our download.

kagglehub's own download appends to what is there whatever the server sends, and unpacks archives without a limit.
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout, suppress
from difflib import SequenceMatcher
from typing import Any

from carclf.tools.fetch.source import Answer, Passing, wait_of
from detection.common.errors import UsageError, need

SCHEME = "kaggle:"
SITE = "https://www.kaggle.com"
WHERE = (
    f"make a token at {SITE}/settings/api, and put it into the file ~/.kaggle/access_token or the environment variable "
    "KAGGLE_API_TOKEN"
)
_TIMEOUT = (10, 60)  # seconds to connect, and without a byte
_CHUNK = 1 << 16  # what is lost of a chunk that is cut
_SLUG = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


class KaggleFiles:
    """A `Source`: all files of a competition (`NAME`) or of a data set (`OWNER/NAME`, or with `/versions/N` one of its
    versions), as one zip. Raises `UsageError`."""

    def __init__(self, handle: str):
        parts = handle.split("/")
        version = parts[3] if len(parts) == 4 and parts[2] == "versions" and parts[3].isdecimal() else None
        names = parts[:2] if version else parts
        if not 1 <= len(names) <= 2 or not all(map(_SLUG.fullmatch, names)):
            raise UsageError(
                f"'{SCHEME}{handle}' is no name of Kaggle's: give {SCHEME}COMPETITION or {SCHEME}OWNER/DATASET, as in "
                "the address of its page."
            )
        _check_installed()
        self.name = self.key = f"{SCHEME}{handle}"
        self._names, self._version = names, version
        self._is_competition = len(names) == 1
        self.page = f"{SITE}/competitions/{handle}" if self._is_competition else f"{SITE}/datasets/{'/'.join(names)}"

    def open(self, headers: Mapping[str, str]) -> Answer:
        import requests
        from kagglehub.clients import build_kaggle_client

        if not self._has_credentials() and self._is_competition:
            raise UsageError(
                f"Kaggle gives the files of a competition only to who is signed in: {WHERE}; then accept the rules at "
                f"{self.page}/rules."
            )
        with self._errors_told(), _quiet(), build_kaggle_client() as client:
            response = self._ask(client)
            # Kaggle has led on to its storage, by a signed address that kagglehub, too, asks for what lacks. Asked
            # anew, as the client waits without end where no byte comes.
            response.close()
            if not response.history:
                raise UsageError(f"Kaggle gave no address for {self.name}: update kagglehub, or try again later.")
            response = requests.get(response.url, headers=dict(headers), stream=True, timeout=_TIMEOUT)
            if response.status_code not in (200, 206, 416):
                response.close()
                raise Passing(f"Kaggle's storage is in trouble (status {response.status_code})")
        return Answer(
            response.status_code,
            {name.lower(): value for name, value in response.headers.items()},
            _chunks(response),
            response.close,
        )

    def _has_credentials(self) -> bool:
        from kagglehub.config import get_kaggle_credentials

        try:
            return get_kaggle_credentials() is not None
        except (ValueError, OSError) as error:  # its message names the file, and nothing of what is in it
            said = error.strerror if isinstance(error, OSError) else error
            raise UsageError(f"Kaggle's credentials can't be read ({said}): {WHERE}.") from None

    def _ask(self, client: Any) -> Any:
        from kagglesdk.competitions.types.competition_api_service import ApiDownloadDataFilesRequest
        from kagglesdk.datasets.types.dataset_api_service import ApiDownloadDatasetRequest, ApiGetDatasetRequest

        if self._is_competition:
            files = ApiDownloadDataFilesRequest()
            files.competition_name = self._names[0]
            return client.competitions.competition_api_client.download_data_files(files)
        api = client.datasets.dataset_api_client
        if self._version is None:  # and the same one in each further try
            which = ApiGetDatasetRequest()
            which.owner_slug, which.dataset_slug = self._names
            self._version = str(api.get_dataset(which).current_version_number)
        one = ApiDownloadDatasetRequest()
        one.owner_slug, one.dataset_slug = self._names
        one.dataset_version_number = int(self._version)
        return api.download_dataset(one)

    @contextmanager
    def _errors_told(self) -> Iterator[None]:
        """As sentences of ours: those of the libraries hold addresses with signatures, and pages of text."""
        import requests

        try:
            yield
        except requests.exceptions.HTTPError as error:
            response = error.response
            status = 0 if response is None else _status(response)
            headers = {} if response is None else {name.lower(): value for name, value in response.headers.items()}
            raise self._refusal(status, headers) from None
        except requests.exceptions.SSLError:
            raise UsageError("Kaggle can't be trusted: the certificate of the server is not valid.") from None
        except requests.exceptions.RequestException:
            raise Passing("Kaggle can't be reached: is there a network, or a proxy to name in HTTPS_PROXY?") from None

    def _refusal(self, status: int, headers: Mapping[str, str]) -> Exception:
        known = self._has_credentials()
        if status == 401:
            if known:
                return UsageError(f"Kaggle does not know your token, or it is too old: {WHERE}.")
            return UsageError(f"{self.name} is only for who is signed in: {WHERE}.")
        if status == 403 and self._is_competition:
            return UsageError(
                f"Kaggle does not give you {self.name}: accept the rules at {self.page}/rules with the account of your "
                "token, and run the same command again."
            )
        if status == 403:
            how = f"look at {self.page} with the account of your token" if known else WHERE
            return UsageError(
                f"Kaggle does not give you {self.name}, which may be private or want your consent: {how}."
            )
        if status == 404:
            near = self._near()
            what = "competition" if self._is_competition else "data set"
            hint = f"near it are {', '.join(near)}" if near else f"is it in the address of its page, {self.page}"
            return UsageError(f"Kaggle has no {what} '{'/'.join(self._names)}': {hint}{'.' if near else '?'}")
        if status in (0, 408, 429) or status >= 500:
            said = "Kaggle takes no more requests for now" if status == 429 else "Kaggle is in trouble"
            return Passing(f"{said} (status {status})" if status else said, wait_of(headers))
        return UsageError(f"{self.name} can't be fetched: Kaggle answered with status {status}.")

    def _near(self) -> list[str]:
        """Names that Kaggle finds for the words of this one, most like first; none where it does not say."""
        from kagglehub.clients import build_kaggle_client
        from kagglesdk.competitions.types.competition_api_service import ApiListCompetitionsRequest
        from kagglesdk.datasets.types.dataset_api_service import ApiListDatasetsRequest

        found: list[str] = []
        with suppress(Exception), _quiet(), build_kaggle_client() as client:  # a hint: what fails here is not told
            request = ApiListCompetitionsRequest() if self._is_competition else ApiListDatasetsRequest()
            request.search = re.sub("[-_]+", " ", self._names[-1])
            if self._is_competition:
                answer = client.competitions.competition_api_client.list_competitions(request)
                found = [one.ref.rstrip("/").rpartition("/")[2] for one in answer.competitions]
            else:
                found = [one.ref for one in client.datasets.dataset_api_client.list_datasets(request).datasets]
        wanted = "/".join(self._names)
        good = [name for name in found if all(map(_SLUG.fullmatch, name.split("/")))]
        return sorted(good, key=lambda name: -SequenceMatcher(None, wanted, name).ratio())[:3]


def _check_installed() -> None:
    if sys.version_info < (3, 11):
        raise UsageError("Fetching from Kaggle needs Python 3.11 or newer, as kagglehub does.")
    need("kagglehub", "Fetching from Kaggle", extra="kaggle")


@contextmanager
def _quiet() -> Iterator[None]:
    """kagglehub prints to stdout that it is old, and in a test environment each request with its token."""
    with redirect_stdout(io.StringIO()):
        yield


def _status(response: Any) -> int:
    """Kaggle may answer 200, and have the status in the body."""
    status = int(response.status_code)
    if status < 400:
        with suppress(ValueError, TypeError, AttributeError):
            status = int(response.json().get("code"))
    return status


def _chunks(response: Any) -> Iterator[bytes]:
    import requests

    try:
        yield from response.iter_content(_CHUNK)
    except requests.exceptions.RequestException:
        raise Passing("the connection to Kaggle was lost") from None
