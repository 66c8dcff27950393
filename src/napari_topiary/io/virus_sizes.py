"""How large viruses are, where nobody has measured one's own.

General values from textbooks of virology, not from any of the papers: a start that
everybody should replace by what is seen in the own images.
"""

from __future__ import annotations

from typing import Final

DIAMETER_NM: Final = {
    "adenovirus": 90.0,
    "astrovirus": 30.0,
    "cchf": 100.0,
    "cowpox": 250.0,
    "dengue": 50.0,
    "ebola": 80.0,
    "guanarito": 120.0,
    "influenza": 100.0,
    "lassa": 120.0,
    "lcm": 110.0,
    "machupo": 120.0,
    "marburg": 80.0,
    "nipah": 20.0,
    "norovirus": 35.0,
    "orf": 200.0,
    "papilloma": 55.0,
    "pseudocowpox": 200.0,
    "riftvalley": 95.0,
    "rotavirus": 75.0,
    "sapovirus": 35.0,
    "tbe": 50.0,
    "westnile": 50.0,
}
"""Outer diameter by name in small letters; Ebola and Marburg: width of the filament;
Nipah: free nucleocapsid strands (whole virions are 150 nm and more)."""


def nominal_radius(name: str) -> float | None:
    """Return half the usual diameter of a virus in nm, None where it is not listed.

    Parameters
    ----------
    name
        Of a class or folder; case, blanks and a trailing "virus" do not matter.

    Examples
    --------
    >>> nominal_radius("Rift Valley")
    47.5
    """
    letters = "".join(c for c in name.lower() if c.isalpha())
    short = letters.removesuffix("virus")
    for known in (letters, short, f"{short}virus"):
        if known in DIAMETER_NM:
            return DIAMETER_NM[known] / 2
    return None
