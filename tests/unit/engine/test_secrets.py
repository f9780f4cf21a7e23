"""The passphrase provider reads values that the Pulumi CLI 3.260 wrote, and refuses everything else."""

from __future__ import annotations

from pathlib import Path

import pytest

from pulumi_embedded.errors import EngineError
from pulumi_embedded.storage.secrets import Crypter, passphrase_from_environment

# The CLI wrote these with an empty passphrase (recording `create`).
SALT = "v1:rJ+R4Ya1Q+o=:v1:5jqDyyKtleEecS/u:BM5JYept0wdk+wAUiUG7ucRcUyceyA=="
SEALED = {
    "v1:zlNeoe1gtTNzkics:BzcQEIoNBCmTQlEDIQV0sqdaQBY54GQ=": '"admin"',
    "v1:li7S96x33G2nMave:B9llNQJTDBJhe3JwpVRaZtiGM4Q5": '"one"',
    "v1:P1L1EqWcmnjTDwUy:JNT1DuacWGoouHXR/3wg8dCVvjY=": "null",
}


@pytest.fixture(scope="module")
def crypter() -> Crypter:
    return Crypter.open(SALT, "")


@pytest.mark.parametrize("sealed", SEALED)
def test_what_the_cli_encrypted_is_read(crypter: Crypter, sealed: str) -> None:
    assert crypter.decrypt(sealed) == SEALED[sealed]


def test_a_text_comes_back_and_is_encrypted_anew_each_time(crypter: Crypter) -> None:
    first, second = crypter.encrypt("pässword"), crypter.encrypt("pässword")
    assert first != second
    assert crypter.decrypt(first) == crypter.decrypt(second) == "pässword"


def test_a_new_salt_proves_its_passphrase_and_no_other() -> None:
    created = Crypter.create("right")
    assert Crypter.open(created.salt_state, "right").decrypt(created.encrypt("x")) == "x"
    with pytest.raises(EngineError, match=r"^incorrect passphrase"):
        Crypter.open(created.salt_state, "wrong")


@pytest.mark.parametrize("salt", ["", "v1", "v1:!:v1:a:b", SALT.replace("v1:rJ", "v2:rJ"), SALT[:-4]])
def test_a_damaged_salt_is_an_error(salt: str) -> None:
    with pytest.raises(EngineError):
        Crypter.open(salt, "")


@pytest.mark.parametrize("sealed", ["", "v1:a", "v2:zlNeoe1gtTNzkics:BzcQ", "v1:zlNeoe1gtTNzkics:BzcQEIoNBCmTQlEDIQV0"])
def test_a_damaged_secret_is_an_error(crypter: Crypter, sealed: str) -> None:
    with pytest.raises(EngineError, match="cannot be decrypted"):
        crypter.decrypt(sealed)


def test_the_passphrase_comes_from_the_variable_or_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PULUMI_CONFIG_PASSPHRASE", raising=False)
    monkeypatch.delenv("PULUMI_CONFIG_PASSPHRASE_FILE", raising=False)
    with pytest.raises(EngineError, match="passphrase must be set"):
        passphrase_from_environment()
    file = tmp_path / "passphrase"
    file.write_text("of the file\n")
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE_FILE", str(file))
    assert passphrase_from_environment() == "of the file"
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "")
    assert passphrase_from_environment() == ""
