"""`carclf serve` as a process of its own, with stand-ins for models: settings as JSON, seconds that the models take."""

import json
import sys
import time

from carclf.service.local.backend import LocalBackend
from carclf.service.server import run
from carclf.service.settings import ServiceSettings
from detection.common.errors import UsageError
from tests.carclf.service.stand_ins import make_recognizer

settings = json.loads(sys.argv[1])
slow, loading = (float(value) for value in sys.argv[2:4])


def load():
    if loading < 0:
        raise UsageError("The stand-in can't be loaded: its time is up.")
    time.sleep(loading)
    return make_recognizer(slow)


try:
    run(ServiceSettings.of(**settings), lambda chosen, metrics: LocalBackend(load, chosen, metrics))
except UsageError as error:  # as the command line does
    print(error, file=sys.stderr)
    sys.exit(2)
