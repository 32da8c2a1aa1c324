"""Words that speak of cards, in the languages of contact centres.

The patterns are plain enough for `re` and for hyperscan, and match bytes without regard to ASCII case: the
prefilter looks for the very same words as the detector.
"""

import re

from tenure.cards.plain import ENTITY

_E = b"(?:e|\xc3[\xa8\xa9\x88\x89])"  # e with or without an accent
_O = b"(?:o|\xc3[\xb3\x93])"
_UE = b"(?:u|ue|\xc3[\xbc\x9c])"
# One space or hyphen, or what the plain text turns into one; `_S` where it may be missing.
_W = b"(?:[ _\\-]|\xc2\xa0|\xe1\x9a\x80|\xe2[\x80\x81\x88][\x80-\xbf]|\xe3\x80\x80|" + ENTITY + b")"
_S = _W + b"?"

# A stem counts wherever it begins a word, or after an underscore or a capital hump; `karte` also ends compounds.
_STEMS = (
    b"card(?:s|holder|no|nr|num|number|code|type|data)?(?:[^a-z]|$)",
    b"card" + _S + b"(?:holder|no|nr|num|code|type|data)",
    b"cc" + _S + b"(?:no|nr|num|exp|v|c|#|:)",
    b"pan(?:s|" + _S + b"(?:no|number))?(?:[^a-z]|$)",
    b"visa(?:[^a-z]|$)",
    b"master" + _S + b"card",
    b"maestro",
    b"amex",
    b"american" + _S + b"express",
    b"diners",
    b"discover(?:[^a-z]|$)",
    b"jcb",
    b"union" + _S + b"pay",
    b"rupay",
    b"dankort",
    b"cr" + _E + b"dit",
    b"kredit",
    b"d" + _E + b"bit",
    b"exp(?:iry|ires?|iration|" + _S + b"date)?(?:[^a-z]|$)",
    b"valid" + _W + b"(?:thru|through|until|till)",
    b"g" + _UE + b"ltig" + _W + b"bis",
    b"cart(?:e|es|ao|\xc3\xa3o)(?:[^a-z]|$)",
    b"tarjetas?(?:[^a-z]|$)",
    b"carta" + _W + b"(?:di|de)" + _W,
    b"cv[vc2n]",
)
_ANYWHERE = (
    b"kart(?:e|en|ennummer)(?:[^a-z]|$)",
    b"kartennummer",
    b"credit",
    b"card" + _S + b"n(?:o|r|um)",
    "\u5361\u53f7".encode(),  # card number, Chinese
    "\u4fe1\u7528\u5361".encode(),  # credit card, Chinese
    "\u30ab\u30fc\u30c9".encode(),  # card, Japanese
    "\u043a\u0430\u0440\u0442".encode(),  # card, Russian
    "\u041a\u0430\u0440\u0442".encode(),
    "\u0628\u0637\u0627\u0642".encode(),  # card, Arabic
)
STRONG_CODE = (
    b"(?:cvv2?|cvc2?|cvn2?|cav2|card" + _S + b"(?:security|verification)" + _S + b"(?:code|value|number))"
)
"""Words that mean a security code and nothing else."""
WEAK_CODE = (
    b"(?:cid|csc|cvd|security"
    + _S
    + b"(?:code|number)|verification"
    + _S
    + b"(?:code|value|number)|card"
    + _S
    + b"code"
    b"|(?:karten)?pr" + _UE + b"f(?:ziffer|nummer|zahl)|sicherheits(?:code|nummer)"
    b"|code" + _W + b"de" + _W + b"(?:s" + _E + b"curit" + _E + b"|v" + _E + b"rification)|cryptogramme"
    b"|c" + _O + b"digo" + _W + b"de" + _W + b"(?:seguridad|verificaci" + _O + b"n))"
)
"""Words that may mean other things too (a caller's id, a password sent to a telephone)."""

STEMS = b"(?:" + b"|".join(_STEMS) + b")"
ANYWHERE = b"(?:" + b"|".join(_ANYWHERE) + b")"
CONTEXT = b"(?:^|[^A-Za-z])" + STEMS + b"|" + ANYWHERE
"""What makes a number in free text sure."""

# The detector hands in a window of the text with one byte more on either side, so that a word cut off by the
# edge of the window is not taken for a whole one.
context = re.compile(
    CONTEXT.replace(b"(?:^|[^A-Za-z])", b"[^A-Za-z]").replace(b"(?:[^a-z]|$)", b"[^a-z]"), re.IGNORECASE
).search

_LABEL = (
    b"order|bestell(?:ung|nummer|nr)|imei|iccid|sim|tracking|sendung(?:snummer)?|parcel|invoice|rechnung(?:snummer)?|ticket"
    b"|vorgang(?:snummer)?|serial|seriennummer|phone|mobile|tel|fax|telefon|isbn|ean|iban|commande|facture|pedido|factura"
    b"|case|reference|transaction|booking|buchung|contract|vertrag|customer|kunde|account|konto"
)
other_label = re.compile(
    b"(?:^|[^A-Za-z])(?:"
    + _LABEL
    + b")[ _\\-]?(?:no|nr|number|id|num|code)?[ .:#=\"'>(]{0,4}(?:is |ist |est |es )?$",
    re.IGNORECASE,
).search
"""Finds, right before a number, the name of something that is no card."""

joined = re.compile(
    b"(?:^|[^A-Za-z])(?:card|cardno|cardnumber|cc|ccnum|pan|visa|mc|amex|mastercard|karte|nr|no)$",
    re.IGNORECASE,
).search
"""Finds a word that may stand before a number without anything between."""

_FILL = (
    b"(?:[\\s:=#\"'>(.,*\\-]|is|ist|lautet|est|es|war|was|number|nummer|code|value|no\\b|nr\\b|visuel|</?[a-z]{1,8}"
    b'|\\[|&quot;|\\\\"){0,6}?'
)
code_after = re.compile(
    b"(?:("
    + STRONG_CODE
    + b")|(?<![A-Za-z])"
    + WEAK_CODE
    + b")"
    + _FILL
    + b"(?<![0-9])([0-9]{3,4})(?![0-9A-Za-z]|[.,/:][0-9])",
    re.IGNORECASE,
).finditer
"""Finds a security code after its name; group 1 is the name where it is a strong one, group 2 the code."""

expiry_after = re.compile(
    b"[\\s,;|:/\\-(]{1,4}(?:(?:exp(?:iry|ires?|iration)?|valid (?:thru|until)|g\xc3\xbcltig bis|date)[\\s.:]{0,3}){0,2}"
    b"(?:0[1-9]|1[0-2])[ /.|\\-]{0,3}(?:20)?[0-9]{2}(?![0-9])(?:[\\s,;|/:]{1,4}([0-9]{3,4})(?![0-9A-Za-z]|[.,/:\\-][0-9]))?",
    re.IGNORECASE,
).match
"""Matches, right after a number, its expiry and in group 1 a security code that follows."""

track = re.compile(
    b'%B ?[0-9](?:[0-9 ]{10,22})[0-9]\\^[^?^\\r\\n\\t<>"]{2,40}\\^[^?^\\r\\n\\t<>"]{1,100}\\??'
    b"|;([0-9]{12,19})=[0-9=]{4,40}\\?"
).finditer
"""Finds magnetic stripe data (ISO/IEC 7813); group 1 is the number of a second track."""
TRACK = b"%B[ 0-9&\\\\\x80-\xff]"
"""The beginning of a first track, for the prefilter; a second track begins with a number it finds anyway."""
