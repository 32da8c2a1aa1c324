"""An installation whose reading key a service keeps, from the command line: AWS KMS by moto, transit by OpenBao."""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from support.baoserver import READS, ROTATES, WRITES, BaoServer
from support.cli import SOURCES, Done, Site, fingerprint, make_sources
from support.kmsserver import REGION, KmsServer

ROOT = {"AWS_ACCESS_KEY_ID": "root", "AWS_SECRET_ACCESS_KEY": "testing"}
ALONE = {"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": "/dev/null"}
NEXT = "a rotation that fails must leave the old keys in charge"


class Kept(Site):
    """An installation; `env` is what its commands find in the environment."""

    def __init__(self, root: Path, env: dict[str, str]) -> None:
        super().__init__(root)
        self.env = ALONE | env

    def run(self, *args: str, **options: Any) -> Done:
        return super().run(*args, env=self.env | options.pop("env", {}), **options)

    def services(self, *addresses: str) -> None:
        """Set the key services."""
        lines = self.config.read_text().splitlines(keepends=True)
        lines = [line for line in lines if not line.startswith(("key_services:", '  - "'))]
        at = next(i for i, line in enumerate(lines) if line.startswith("keys:")) + 1
        new = ["key_services:\n", *(f'  - "{url}"\n' for url in addresses)] if addresses else []
        self.config.write_text("".join([*lines[:at], *new, *lines[at:]]))

    def key_files(self) -> set[str]:
        return {p.name for p in (self.root / "keys").iterdir() if not p.name.startswith("writer-")}

    def comes_back(self, name: str) -> None:
        """Assert that the CRM restores to the byte."""
        self.run("restore", "crm", "--to", name).worked()
        assert fingerprint(self.root / name) == fingerprint(self.crm)


def made(folder: Path, env: dict[str, str], *reader_keys: str) -> Kept:
    root = folder / "centre"
    root.mkdir()
    centre = Kept(root, env)
    centre.run("init", *(word for url in reader_keys for word in ("--reader-key", url))).worked()
    text = centre.config.read_text()
    centre.config.write_text(text[: text.index("sources:")] + SOURCES)
    make_sources(root)
    return centre


def address(kms: KmsServer, arn: str, more: str = "") -> str:
    return f"awskms:{arn}?endpoint={kms.endpoint}&attempts=3&give_up=20{more}"


@pytest.fixture
def arn(kms: KmsServer) -> str:
    return kms.key()


@pytest.fixture
def centre(tmp_path: Path, kms: KmsServer, arn: str) -> Kept:
    found = made(tmp_path, ROOT, address(kms, arn))
    found.run("snapshot").worked()
    return found


class TestAwsKms:
    def test_no_key_that_reads_is_on_the_machine_and_everything_works(self, centre: Kept, arn: str) -> None:
        assert centre.key_files() == {"purge.key", "recovery.key", "evidence.key"}
        found = centre.run("keys", "status", "--json").worked().document["recipients"]
        assert [(r["role"], r["provider"], r["address"]) for r in found] == [
            ("reader", "awskms", arn),
            ("recovery", "local", ""),
        ]
        centre.comes_back("back")
        centre.run("verify", "--read-data", "100%").worked()
        centre.run("drill", "crm").worked()

    def test_each_command_asks_the_service_once_for_each_page_it_opens_or_seals(
        self, centre: Kept, kms: KmsServer
    ) -> None:
        """What a service bills, and what its limits of requests a second are about."""

        def asked(*words: str) -> tuple[int, int]:
            kms.asked.clear()
            centre.run(*words).worked()
            return kms.asked["Encrypt"], kms.asked["Decrypt"]

        def pages() -> int:
            return int(centre.run("keys", "status", "--json").worked().document["pages"])

        before = pages()
        make_more(centre)
        sealed, opened = asked("snapshot", "crm")
        added = pages() - before
        assert added > 0
        assert (sealed, opened) == (added, 0), "a snapshot opens nothing"
        sealed, opened = asked("restore", "crm", "--to", "once")
        assert sealed == 0
        assert opened <= pages() + 1, "every page at most once, and the epoch's secrets"
        total, epochs = pages(), 1
        sealed, opened = asked("keys", "rotate")
        writers = 2
        assert sealed <= total + writers + epochs, (
            "every page once, a sample of each writer, the epoch's secrets"
        )
        assert opened <= 2 * total + 2 * (writers + epochs) + 4, "every page, and the proof with the new key"

    def test_an_alias_is_written_down_as_the_key_it_stands_for(
        self, tmp_path: Path, kms: KmsServer, arn: str
    ) -> None:
        name = f"alias/{arn[-12:]}"
        kms.client().create_alias(AliasName=name, TargetKeyId=arn)
        centre = made(tmp_path, ROOT, address(kms, name, f"&region={REGION}"))
        assert f"awskms:{arn}?" in centre.config.read_text()
        centre.run("snapshot").worked()
        centre.services(address(kms, name))
        centre.run("snapshots").refused(10, "not named by its ARN")

    def test_a_rotation_to_another_key_is_final_when_the_old_one_is_deleted(
        self, centre: Kept, kms: KmsServer, arn: str
    ) -> None:
        newer = kms.key()
        centre.services(address(kms, arn, "&leaving=yes&retire=yes&retire_days=8"), address(kms, newer))
        done = centre.run("keys", "rotate", "--json").worked().document
        assert done["closed"] == [1]
        assert [(e["key"], e["why"]) for e in done["keys_ended"]] == [(f"awskms:{arn}", "")]
        about = kms.client().describe_key(KeyId=arn)["KeyMetadata"]
        assert about["KeyState"] == "PendingDeletion"
        assert done["final_at"][:16] == about["DeletionDate"].isoformat()[:16]
        assert "key-destruction" in "".join(
            p.read_text() for p in (centre.root / "state" / "evidence").rglob("*") if p.is_file()
        )
        centre.services(address(kms, newer))
        centre.comes_back("back")
        centre.run("snapshot").worked()
        again = centre.run("keys", "rotate", "--json").worked().document
        assert next(e["at"] for e in again["keys_ended"] if e["key"] == f"awskms:{arn}")

    def test_the_recovery_key_alone_brings_everything_back_without_the_service(
        self, centre: Kept, kms: KmsServer, arn: str, tmp_path: Path
    ) -> None:
        newer = kms.key()
        centre.services(address(kms, arn, "&leaving=yes&retire=yes"), address(kms, newer))
        centre.run("keys", "rotate").worked()
        kms.disable(newer)
        kms.asked.clear()
        remains = ("--repository", "file:repository", "--key-store", "file:key-store-2")
        centre.config.unlink()
        centre.run(
            "restore", "crm", "--to", "out", "--recovery-key", "keys/recovery-2.key", *remains
        ).worked()
        assert fingerprint(centre.root / "out") == fingerprint(centre.crm)
        assert not kms.asked

    def test_without_retire_finality_waits_and_says_so(self, centre: Kept, kms: KmsServer, arn: str) -> None:
        centre.services(address(kms, arn, "&leaving=yes"), address(kms, kms.key()))
        done = centre.run("keys", "rotate").worked()
        assert "is not destroyed" in done.out
        assert "not final yet" in done.out
        assert kms.client().describe_key(KeyId=arn)["KeyMetadata"]["KeyState"] == "Enabled"
        centre.configure(("&leaving=yes", "&leaving=yes&retire=yes"))
        later = centre.run("keys", "rotate", "--json").worked().document
        assert later["epoch"] == 2
        assert later["final_at"]

    def test_a_rotation_within_one_key_says_that_it_stays_open(self, centre: Kept) -> None:
        done = centre.run("keys", "rotate", "--json").worked().document
        assert done["final_at"] is None
        assert [e["why"] for e in done["keys_ended"]] == ["the open epoch uses it too"]
        centre.comes_back("back")

    def test_the_way_from_files_to_a_service_and_back(self, tmp_path: Path, kms: KmsServer, arn: str) -> None:
        centre = made(tmp_path, ROOT)
        centre.run("snapshot").worked()
        assert "epoch-1.key" in centre.key_files()
        centre.services(address(kms, arn))
        centre.run("keys", "rotate").worked()
        assert centre.key_files() == {"purge.key", "recovery-2.key", "evidence.key"}
        centre.comes_back("served")
        centre.services(address(kms, arn, "&leaving=yes&retire=yes"))
        centre.run("keys", "rotate").worked()
        assert "epoch-3.key" in centre.key_files()
        centre.services()
        centre.comes_back("local")
        centre.run("snapshot").worked()

    def test_a_host_that_may_only_encrypt_takes_snapshots_and_restores_nothing(
        self, centre: Kept, kms: KmsServer
    ) -> None:
        centre.env |= kms.user(f"writer-{os.getpid()}", "kms:Encrypt")
        for name in ("purge.key", "recovery.key"):
            (centre.root / "keys" / name).unlink()
        before = centre.numbers("crm")
        with kms.enforcing():
            centre.run("snapshot", "crm").worked()
            centre.run("restore", "crm", "--to", "out").refused(
                34, "this process may not", "grant this process"
            )
            make_more(centre)  # where nothing changed, no key is asked for
            centre.run("snapshot", "crm", env={"AWS_SECRET_ACCESS_KEY": "wrong"}).refused(
                34, "credentials are not accepted"
            )
        assert len(centre.numbers("crm")) == len(before) + 1
        assert not (centre.root / "out").exists()

    def test_what_stops_the_service_loses_nothing(self, centre: Kept, kms: KmsServer, arn: str) -> None:
        before = centre.numbers("crm")
        make_more(centre)
        kms.disable(arn)
        centre.run("snapshot", "crm").refused(34, "the key is disabled", "enable-key")
        kms.states[arn.rpartition("/")[2]] = "PendingDeletion"
        centre.run("snapshot", "crm").refused(33, "about to be deleted", "cancel-key-deletion")
        kms.enable(arn)
        kms.busy = 1000
        centre.run("snapshot", "crm").refused(31, "called later")
        kms.busy, kms.hanging = 0, 1.5
        hasty = address(kms, arn, "&read=0.5").replace("attempts=3", "attempts=1")
        centre.services(hasty)
        centre.run("snapshot", "crm").refused(31, "did not answer")
        assert centre.numbers("crm") == before
        kms.hanging, kms.busy = 0, 2
        centre.services(address(kms, arn))
        centre.run("snapshot", "crm").worked()
        centre.comes_back("back")

    @pytest.mark.parametrize("calls", [1, 4, 9, 14])
    def test_a_key_that_is_disabled_in_the_middle_of_a_rotation_loses_nothing(
        self, centre: Kept, kms: KmsServer, arn: str, calls: int
    ) -> None:
        newer = kms.key()
        centre.services(address(kms, arn, "&leaving=yes&retire=yes"), address(kms, newer))
        kms.before = _after(calls, lambda: kms.disable(newer))
        centre.run("keys", "rotate").refused(34, "the key is disabled")
        kms.before = lambda _: None
        kms.enable(newer)
        assert kms.client().describe_key(KeyId=arn)["KeyMetadata"]["KeyState"] == "Enabled", NEXT
        done = centre.run("keys", "rotate", "--json").worked().document
        assert done["epoch"] == 2
        assert done["final_at"], done["keys_ended"]
        centre.comes_back("back")

    def test_a_snapshot_whose_key_is_disabled_in_the_middle_is_not_listed(
        self, centre: Kept, kms: KmsServer, arn: str
    ) -> None:
        before = centre.numbers("crm")
        make_more(centre)
        kms.before = _after(1, lambda: kms.disable(arn))
        centre.run("snapshot", "crm").refused(34, "the key is disabled")
        kms.before = lambda _: None
        kms.enable(arn)
        assert centre.numbers("crm") == before
        centre.run("snapshot", "crm").worked()
        centre.comes_back("back")

    @pytest.mark.parametrize(
        ("change", "code", "says"),
        [
            (lambda arn: arn[:-4] + "0000", 33, "there is no such key"),
            (lambda arn: arn.replace(REGION, "us-east-1"), 33, "check the region"),
        ],
        ids=["missing key", "wrong region"],
    )
    def test_nothing_is_made_where_the_key_is_not(
        self, tmp_path: Path, kms: KmsServer, arn: str, *, change: Callable[[str], str], code: int, says: str
    ) -> None:
        centre = Kept(tmp_path / "empty", ROOT)
        centre.root.mkdir()
        centre.run("init", "--reader-key", address(kms, change(arn))).refused(code, says)
        assert not any(centre.root.iterdir())

    def test_a_service_that_the_settings_lost_is_named(self, centre: Kept, arn: str) -> None:
        centre.services()
        centre.run("restore", "crm", "--to", "out").refused(31, "no reading key")
        centre.run("snapshot", "crm").refused(32, f"wrapped for awskms:{arn}", "key_services")


def make_more(centre: Kept) -> None:
    """Change what is backed up: new pages have to be wrapped."""
    with closing(sqlite3.connect(centre.crm)) as database, database:
        database.execute("UPDATE notes SET body = body || ' again'")


def _after(calls: int, does: Callable[[], None]) -> Callable[[str], None]:
    left = iter(range(calls))

    def before(_: str) -> None:
        if next(left, None) is None:
            does()

    return before


class TestTransit:
    @pytest.fixture
    def key(self, bao: BaoServer) -> str:
        return bao.key()

    def url(self, bao: BaoServer, key: str, more: str = "") -> str:
        return f"vault:transit/{key}?address={bao.address}&token_file=token&attempts=3&give_up=20{more}"

    def made(self, tmp_path: Path, bao: BaoServer, key: str) -> Kept:
        root = tmp_path / "centre"
        root.mkdir()
        self.token(root, bao.token(ROTATES, key))
        centre = Kept(root, {})
        centre.run("init", "--reader-key", self.url(bao, key)).worked()
        text = centre.config.read_text()
        centre.config.write_text(text[: text.index("sources:")] + SOURCES)
        make_sources(root)
        centre.run("snapshot").worked()
        return centre

    def token(self, root: Path, token: str) -> None:
        (root / "token").write_text(token + "\n")
        (root / "token").chmod(0o600)

    def test_a_rotation_destroys_the_old_version_and_is_final_at_once(
        self, tmp_path: Path, bao: BaoServer, key: str
    ) -> None:
        centre = self.made(tmp_path, bao, key)
        done = centre.run("keys", "rotate", "--json").worked().document
        assert [e["key"] for e in done["keys_ended"]] == [f"vault:transit/{key}/1"]
        assert done["final_at"], done["keys_ended"]
        about = bao.about(key)
        assert (about["min_available_version"], about["min_decryption_version"]) == (2, 2)
        centre.comes_back("back")
        assert centre.run("keys", "rotate", "--json").worked().document["epoch"] == 3
        centre.comes_back("again")

    def test_a_token_that_ends_is_told_and_a_fresh_one_in_its_file_is_taken(
        self, tmp_path: Path, bao: BaoServer, key: str
    ) -> None:
        centre = self.made(tmp_path, bao, key)
        before = centre.numbers("crm")
        make_more(centre)
        bao.revoke((centre.root / "token").read_text().strip())
        centre.run("snapshot", "crm").refused(34, "the token has expired", "renew the token")
        assert centre.numbers("crm") == before
        self.token(centre.root, bao.token(WRITES, key))
        centre.run("snapshot", "crm").worked()
        centre.run("restore", "crm", "--to", "out").refused(34, "policies do not allow")
        self.token(centre.root, bao.token(READS, key))
        centre.comes_back("back")
        centre.run("keys", "rotate").refused(34, "cannot look at")

    def test_a_sealed_server_is_told_and_nothing_is_lost(
        self, tmp_path: Path, bao: BaoServer, key: str
    ) -> None:
        centre = self.made(tmp_path, bao, key)
        make_more(centre)
        with bao.sealed():
            centre.run("snapshot", "crm").refused(31, "sealed", "unseal it")
        centre.run("snapshot", "crm").worked()
        centre.comes_back("back")

    def test_the_way_from_transit_to_kms_destroys_what_is_left_behind(
        self, tmp_path: Path, bao: BaoServer, key: str, kms: KmsServer, arn: str
    ) -> None:
        centre = self.made(tmp_path, bao, key)
        centre.env |= ROOT
        centre.services(self.url(bao, key, "&leaving=yes"), address(kms, arn))
        done = centre.run("keys", "rotate", "--json").worked().document
        assert done["final_at"], done["keys_ended"]
        assert bao.about(key)["min_available_version"] == 2
        centre.services(address(kms, arn))
        centre.comes_back("back")
