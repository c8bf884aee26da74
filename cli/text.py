"""Other people's text made harmless for the place where it is shown: a terminal, or a spreadsheet."""

__all__ = ["csv_cell", "printable"]

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "|", "%")


def printable(text: str, *, keep_newlines: bool = False) -> str:
    r"""Return ``text`` with every character that does not show itself written as an escape (``\x1b``).

    That takes their effect from ANSI sequences, line breaks, direction marks and halves of surrogate pairs.
    Rich's markup is not touched: texts are handed to Rich as plain text.
    """
    if keep_newlines:
        return "\n".join(printable(line) for line in text.split("\n"))
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


def csv_cell(value: object) -> str:
    """Return a value as the text of a CSV cell that no spreadsheet takes for a formula.

    Text that begins like a formula gets an apostrophe before it (OWASP, "CSV Injection"); numbers stay.
    """
    if value is None:
        return ""
    if not isinstance(value, str):
        return str(value)
    dangerous = value.lstrip(" ").startswith(_FORMULA_STARTS)
    return ("'" if dangerous else "") + printable(value)
