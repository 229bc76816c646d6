"""What requests to the simulated tester carry beside their first word."""

from typing import Any

from drivers.tileboard_tester import protocol
from drivers.tileboard_tester.world import RefusedError


def document_of(word: str, documents: list[str]) -> dict[str, Any]:
    if len(documents) != 1:
        raise RefusedError(f"{word} needs one YAML document, got {len(documents)}")
    if word == "read" and not documents[0].strip():
        return {}
    return protocol.from_yaml(documents[0])


def only_argument(arguments: list[str]) -> str:
    if len(arguments) != 1:
        raise RefusedError(f"expected one argument, got {len(arguments)}")
    return arguments[0]


def dac_name(arguments: list[str]) -> str:
    name = only_argument(arguments).upper()
    if name not in protocol.DAC_NAMES:
        raise RefusedError(f"no DAC {name!r}")
    return name
