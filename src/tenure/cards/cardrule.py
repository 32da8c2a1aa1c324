"""What a card rule does to one text, for the examples that stand in the rule."""

from tenure.cards.findings import Confidence
from tenure.cards.redact import Keep, redact_found
from tenure.domain.errors import RuleError


def keep_of(number: str) -> Keep:
    """Return what the words of a rule's ``card number:`` mean.

    Raises:
        RuleError: They mean nothing.
    """
    try:
        return Keep(" ".join(number.split()))
    except ValueError as error:
        known = ", ".join(f"`{keep}`" for keep in Keep)
        raise RuleError(
            f"`card number: {number}` is no way to cut a card number", hint=f"say one of {known}"
        ) from error


def redact_text(text: str, *, number: str, code: str) -> str:
    """Return `text` as the rule leaves it where the detector is sure; unchanged where it is not.

    `number`: one of the values of `Keep`; `code`: ``remove``, the only thing PCI DSS 3.3.1 allows.

    Raises:
        RuleError: One of them says something else.
    """
    keep = keep_of(number)
    if code != "remove":
        raise RuleError(f"`security code: {code}` is not allowed", hint="say `security code: remove`")
    raw = text.encode("utf-8", "surrogatepass")
    return redact_found(raw, at_least=Confidence.SURE, how=keep).text.decode("utf-8", "surrogatepass")
