"""The names and numbers that ships carry: pure rules, each with the standard that it comes from."""

_IMO_WEIGHTS = (7, 6, 5, 4, 3, 2)
# What somebody is told who has written one otherwise, as "IMO 9074729" or "257 123 450".
IMO_RULE = (
    "Not an IMO number: 7 digits, the first 1 to 9, the last a check digit. "
    "Leave out the letters IMO and spaces."
)
MMSI_RULE = "Not an MMSI: 9 digits, not all of them 0. Leave out the letters MMSI and spaces."


def is_imo_number(text: str) -> bool:
    """Return whether text is an IMO ship identification number (IMO resolution A.1117(30)).

    Seven ASCII digits, of which the last is the last digit of the sum of the first six, weighted 7 to
    2: 9074729 holds because 9*7 + 0*6 + 7*5 + 4*4 + 7*3 + 2*2 = 139. The first is never 0: 0000000, which
    the sum allows, is how AIS says "not available".
    """
    if len(text) != 7 or not text.isascii() or not text.isdigit() or text[0] == "0":
        return False
    total = sum(weight * int(digit) for weight, digit in zip(_IMO_WEIGHTS, text, strict=False))
    return total % 10 == int(text[6])


def is_mmsi(text: str) -> bool:
    """Return whether text is a Maritime Mobile Service Identity (ITU-R M.585): nine ASCII digits.

    Leading zeros count, which is why it is text; it changes with the flag and identifies no hull. Nine zeros
    are how AIS says "not available".
    """
    return len(text) == 9 and text.isascii() and text.isdigit() and text != "000000000"
