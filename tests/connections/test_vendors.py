"""What is known of vendors can be used as it stands: patterns that fit their examples, words, no guesses."""

from __future__ import annotations

import re

import pytest

from connections.rest import Api
from connections.vendors import VENDORS, Vendor

each_vendor = pytest.mark.parametrize("vendor", VENDORS.values(), ids=VENDORS)


def _fits(pattern: str, example: str) -> bool:
    """Whether `example` is `pattern` with something in place of each <word>."""
    plain = (re.escape(part) for part in re.split(r"<[^>]+>", pattern))
    return re.fullmatch("[^/]+".join(plain), example) is not None


@each_vendor
def test_an_example_fits_its_pattern(vendor: Vendor) -> None:
    for pattern, example in ((vendor.url, vendor.example), (vendor.token_url, vendor.token_example)):
        assert not example or _fits(pattern, example)
    assert bool(vendor.token_url) == bool(vendor.token_example)
    assert not vendor.token_url or "oauth2" in vendor.auth


@each_vendor
def test_an_example_could_be_entered(vendor: Vendor) -> None:
    if vendor.example:
        kind = vendor.auth[0] if vendor.auth else "oauth1"
        Api(
            vendor.example, auth=kind, key="key", secret="secret", token_url=vendor.token_example or vendor.example
        ).check()


@each_vendor
def test_what_is_unknown_is_left_out_and_never_called_so(vendor: Vendor) -> None:
    words = [vendor.name, vendor.key_words, vendor.secret_words, vendor.help, *vendor.quirks]
    assert vendor.name
    assert not [text for text in words if "unknown" in text.lower() or "presum" in text.lower()]
    assert vendor.key_words != vendor.secret_words or not vendor.key_words
    assert all(text.endswith(".") for text in (vendor.help, *vendor.quirks) if text)
    assert vendor.signature is None or "oauth1" in vendor.auth
    assert vendor.credentials_in is None or "oauth2" in vendor.auth


@each_vendor
def test_an_address_and_its_version_tell_the_same(vendor: Vendor) -> None:
    named = re.search(r"/v1p([12])/?$", vendor.url)
    assert not named or vendor.versions[0] == f"1.{named[1]}"
