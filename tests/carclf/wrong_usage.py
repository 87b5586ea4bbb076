"""What a wrong usage of a command says."""

from __future__ import annotations


def sentence(result) -> str:
    """The one line on stderr: exit code 2, and nothing on stdout."""
    assert result.exit_code == 2 and result.stdout == "", result.output
    assert result.stderr.count("\n") == 1 and result.stderr.endswith(".\n"), result.stderr
    return result.stderr
