"""Checks the values read from the files of runs, and makes text from them fit to show."""

from typing import Any

_LARGEST_INTEGER = 2**53
_LONGEST_TEXT = 200


def text(record: dict[str, Any], key: str) -> str:
    """Returns record[key], a text of at most 200 characters.

    Raises:
      ValueError: if it is anything else.
      KeyError: if the record lacks the key.
      TypeError: if the record is no dictionary.
    """
    if not isinstance(record[key], str) or len(record[key]) > _LONGEST_TEXT:
        raise ValueError(f"{key} is {record[key]!r}, not a text of at most {_LONGEST_TEXT} characters")
    return record[key]


def number(record: dict[str, Any], key: str, low: float, high: float) -> float:
    """Returns record[key], a number in [low, high]. Raises the same errors as `text`."""
    value = record[key]
    if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
        raise ValueError(f"{key} is {value!r}, not a number in [{low:g}, {high:g}]")
    return float(value)


def integer(record: dict[str, Any], key: str, low: int, high: int = _LARGEST_INTEGER) -> int:
    """Returns record[key], an integer in [low, high]. Raises the same errors as `text`."""
    value = record[key]
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise ValueError(f"{key} is {value!r}, not an integer in [{low}, {high}]")
    return value


def printable(text: str) -> str:
    r"""Escapes characters that cannot be printed, such as half a surrogate pair, as \n, \x00 and the like."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def short_text(value: Any) -> str:
    """Returns a setting's key or value as at most 40 printable characters."""
    text = printable(f"{value:g}" if isinstance(value, float) else str(value))
    return text if len(text) <= 40 else text[:37] + "..."


def setting_text(key: str, value: Any) -> str:
    """Returns a setting as text, such as "lr = 1"."""
    return f"{short_text(key)} = {short_text(value)}"


def describe(error: Exception) -> str:
    """Returns the error in one line of at most 200 characters, for a warning."""
    if isinstance(error, UnicodeDecodeError):
        return "it is no text"
    # a ValueError's own words say enough; a KeyError's are the key alone
    message = printable(str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}")
    return message if len(message) <= 200 else message[:197] + "..."
