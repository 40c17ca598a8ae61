"""What can be seen on this machine without asking anybody: settings, files, versions, identification."""

import errno
import importlib.metadata
import os
import platform
import stat
from pathlib import Path

import requests
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from copilotapi.app import clocks, network
from copilotapi.cli.doctor.findings import Finding, Known, failed, ok, secrets_of, warning
from copilotapi.settings import Settings, SettingsError
from copilotapi.settings.sources import read_dotenv
from copilotapi.token_file import TokenFileError, load, path_in, signed_in
from copilotapi.upstream.headers import USER_AGENT
from copilotapi.upstream.transport import Transport
from copilotapi.vocabularies import VOCABULARIES, open_vocabularies

_ENV_FILE = Path(".env")
_DISTRIBUTION = "copilotapi"
_DATED = ("EDITOR_VERSION", "EDITOR_PLUGIN_VERSION", "GITHUB_API_VERSION")


def settings(known: Known) -> Finding:
    """Those the gateway would start with; every problem is named."""
    try:
        given = Settings.from_env(dotenv=_ENV_FILE)
    except SettingsError as exc:
        remedy = "Correct them where they are set; docs/configuration.md describes each. The gateway does not start."
        return failed("; ".join(exc.problems), remedy)
    known.secrets.update(secrets_of(given))
    known.settings = given
    _build_ways_out(known, given)
    where = "with .env of" if _ENV_FILE.exists() else "without a .env in"
    return ok(f"All can be used, {where} {Path.cwd()}.")


def _build_ways_out(known: Known, given: Settings) -> None:
    known.network = network(given)
    known.transport = Transport(known.network, clocks(given))
    known.session = known.resources.enter_context(requests.Session())
    # No ~/.netrc, no proxies of the environment: only what the settings say, as in the gateway.
    known.session.trust_env = False
    known.session.headers = requests.structures.CaseInsensitiveDict(
        {"User-Agent": USER_AGENT, "Accept-Encoding": "identity"}
    )
    known.session.mount("https://", known.transport)
    known.session.mount("http://", known.transport)


def env_file(known: Known) -> Finding:
    """Who else may read `.env`."""
    try:
        mode = stat.S_IMODE(_ENV_FILE.stat().st_mode)
    except FileNotFoundError:
        return ok(f"There is no .env in {Path.cwd()}.")
    except OSError as exc:
        return failed(f".env cannot be looked at: {exc.strerror}.", "Let this user read it, or move it away.")
    rows = Settings.documentation()
    values, _ = read_dotenv(_ENV_FILE, [row.name for row in rows])
    secret_names = [row.name for row in rows if row.secret and values.get(row.name)]
    if mode & 0o077 and secret_names:
        reason = f".env holds {', '.join(secret_names)} and has mode {mode:04o}: others can read it."
        return warning(reason, f"Run: chmod 600 {_ENV_FILE.absolute()}")
    return ok(f"Mode {mode:04o}, {'with' if secret_names else 'without'} secrets in it.")


def token_file(known: Known) -> Finding:
    """The stored sign-in: can it be used, and by its owner only?"""
    given, home = known.settings, known.settings.copilotapi_home
    if home is None:
        return ok("This account has no home folder; a sign-in cannot be stored.")
    try:
        stored = load(home)
    except TokenFileError as exc:
        if given.github_copilot_token is not None:
            return warning(f"{exc} It is not used: GITHUB_COPILOT_TOKEN is set.", "Remove it with `copilotapi logout`.")
        return failed(str(exc), "Repair the file as it says, or sign in anew with `copilotapi login`.")
    if stored is None:
        return ok(f"No sign-in is stored in {home}.")
    known.settings = signed_in(given)
    known.uses_stored_sign_in = given.github_copilot_token is None
    known.secrets.add(stored)
    if (mode := stat.S_IMODE(home.stat().st_mode)) & 0o077:
        reason = f"{home} has mode {mode:04o}: others can look into the folder of the stored sign-in."
        return warning(reason, f"Run: chmod 700 {home}")
    used = "not used, for GITHUB_COPILOT_TOKEN is set" if given.github_copilot_token else "readable by you only"
    return ok(f"A sign-in is stored in {path_in(home)}, {used}.")


def log_file(known: Known) -> Finding:
    """Whether this user may write where the log goes. Creates nothing."""
    path = known.settings.log_file
    if path is None:
        return ok("The log goes to standard error.")
    try:
        # Without O_NONBLOCK a FIFO that nobody reads would hold us.
        os.close(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC))
    except FileNotFoundError:
        if os.access(path.parent, os.W_OK | os.X_OK):
            return ok(f"{path} will be made at the start.")
        return _log_file_fails(path, os.strerror(errno.EACCES))
    except OSError as exc:
        return _log_file_fails(path, exc.strerror or type(exc).__name__)
    return ok(f"{path} can be written.")


def _log_file_fails(path: Path, why: str) -> Finding:
    remedy = "Let the user who runs the gateway write there, or set LOG_FILE to another place."
    return failed(f"LOG_FILE {path} cannot be written: {why}.", remedy)


def versions(known: Known) -> Finding:
    """Python and the libraries against the ranges this program was made for."""
    try:
        about = importlib.metadata.metadata(_DISTRIBUTION)
        wanted = [Requirement(line) for line in importlib.metadata.requires(_DISTRIBUTION) or ()]
    except importlib.metadata.PackageNotFoundError:
        reason = "copilotapi is not installed as a package here, so that its ranges are not known."
        return warning(reason, "Run: make install")
    python = platform.python_version()
    problems = [problem for requirement in wanted if (problem := _requirement_problem(requirement))]
    if not SpecifierSet(about["Requires-Python"] or "").contains(python, prereleases=True):
        problems.insert(0, f"Python {python} where {about['Requires-Python']} is wanted")
    if problems:
        return failed(f"{'; '.join(problems)}.", "Install what requirements.lock names. Run: make install")
    return ok(f"copilotapi {about['Version']} on Python {python}; its {len(wanted)} libraries are in their ranges.")


def _requirement_problem(requirement: Requirement) -> str:
    if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
        return ""
    try:
        found = importlib.metadata.version(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        return f"{requirement.name} is missing"
    if requirement.specifier.contains(found, prereleases=True):
        return ""
    return f"{requirement.name} {found} where {requirement.specifier} is wanted"


def vocabularies(known: Known) -> Finding:
    """Whether token counts are exact."""
    folder = known.settings.tiktoken_cache_dir
    encodings = open_vocabularies(folder).encodings
    missing = [vocabulary.name for vocabulary in VOCABULARIES if vocabulary.name not in encodings]
    if missing:
        reason = f"{folder.absolute()} lacks {' and '.join(missing)}, or holds it damaged: token counts are estimated."
        return warning(reason, "Run: copilotapi vocabularies")
    return ok(f"{' and '.join(encodings)} are in {folder.absolute()}.")


def identification(known: Known) -> Finding:
    """What the gateway tells Copilot about itself, against the dated values it comes with."""
    given = known.settings
    rows = {row.name: row.default for row in Settings.documentation()}
    sent = {name: str(getattr(given, name.lower())) for name in (*_DATED, "COPILOT_INTEGRATION_ID")}
    shown = ", ".join(f"{name}={value}" for name, value in sent.items()) + f", User-Agent {USER_AGENT}."
    older = [name for name in _DATED if _is_older(sent[name], rows[name])]
    if older:
        defaults = ", ".join(f"{name}={rows[name]}" for name in older)
        remedy = f"Copilot may refuse old versions or offer them less. Unset it to get {defaults}."
        return warning(f"{' and '.join(older)} is older than what this program comes with: {shown}", remedy)
    return ok(shown)


def _is_older(sent: str, default: str) -> bool:
    """Of the same product only: `name/version`, or a date."""
    (product, _, version), (default_product, _, default_version) = sent.rpartition("/"), default.rpartition("/")
    if product != default_product:
        return False
    try:
        return Version(version.replace("-", ".")) < Version(default_version.replace("-", "."))
    except InvalidVersion:
        return False
