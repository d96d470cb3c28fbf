"""Models on the Hugging Face Hub, with `huggingface_hub` (the extra `hub`).

A model is a repository with a model file, `model.safetensors`, and a model card, `README.md`. Its address is
hf://USER/NAME, or hf://USER/NAME@REVISION with a branch, a tag or a commit. Server, token and cache are those of
`huggingface_hub`, which reads the variables HF_ENDPOINT, HF_TOKEN, HF_HOME and HF_HUB_OFFLINE.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ecg.errors import UserError
from ecg.reading import one_line

PREFIX = "hf://"
MODEL, CARD = "model.safetensors", "README.md"
INSTALL = 'It needs: pip install "ecg-synthesis-classification[hub]".'
LOG_IN = "log in with `hf auth login`, or set HF_TOKEN"

_REPOSITORY = r"[\w.-]+/[\w.-]+"


def download_model(address: str) -> Path:
    """Downloads a model file to the cache of `huggingface_hub`, unless the cache has it; returns its path there.

    Without a connection to the server the path of the latest file in the cache is returned.

    Args:
        address: hf://USER/NAME or hf://USER/NAME@REVISION.

    Raises:
        UserError: the address is not valid, the package is missing, the server is not reachable or refuses the access,
            or there is no such repository, revision or file.
    """
    if (match := re.fullmatch(rf"{PREFIX}({_REPOSITORY})(?:@(\S+))?", address)) is None:
        raise UserError(f"{address} is not an address of a model. Write hf://USER/NAME or hf://USER/NAME@REVISION.")
    repository, revision = match.groups()
    with _errors_as_sentences(repository, revision):
        from huggingface_hub import hf_hub_download

        return Path(hf_hub_download(repository, MODEL, revision=revision))


def upload_model(path: Path, card: str, repository: str, *, private: bool | None, replace_card: bool) -> str:
    """Uploads a model file and a model card in one commit, and returns the address of their page.

    Args:
        path: the model file.
        card: the model card, in Markdown.
        repository: USER/NAME; created if missing.
        private: whether a new repository is private; None for public, unless the organisation has another default.
        replace_card: whether the card replaces one that the repository has.

    Raises:
        UserError: the name is not valid, the package is missing, or the server is not reachable or refuses the access.
    """
    if re.fullmatch(_REPOSITORY, repository) is None:
        raise UserError(f"{repository} is not the name of a repository. Write USER/NAME.")
    with _errors_as_sentences(repository):
        from huggingface_hub import CommitOperationAdd, HfApi

        api = HfApi()
        url = api.create_repo(repository, private=private, exist_ok=True)
        files: list[CommitOperationAdd] = [CommitOperationAdd(MODEL, str(path))]
        if replace_card or not api.file_exists(repository, CARD):
            files.append(CommitOperationAdd(CARD, card.encode()))
        api.create_commit(repository, files, commit_message="Upload a model")
        return str(url)


@contextmanager
def _errors_as_sentences(repository: str, revision: str | None = None) -> Iterator[None]:
    """Raises errors of `huggingface_hub` as user errors."""
    try:
        import huggingface_hub.constants  # noqa: F401
    except ImportError as error:
        raise UserError(f"{PREFIX}{repository} cannot be used without huggingface_hub. {INSTALL}") from error
    except ValueError as error:  # it reads its variables when it is imported
        raise UserError(
            f"A variable of huggingface_hub is not valid, such as HF_ENDPOINT: {one_line(error)}."
        ) from error
    try:
        yield
    except Exception as error:
        if (message := _message(error, repository, revision)) is None:
            raise
        # Not `from error`: texts of errors of HTTP clients may contain a token.
        raise UserError(message) from None


def _message(error: BaseException, repository: str, revision: str | None) -> str | None:
    """The message for an error of `huggingface_hub`; None for a defect.

    It is made from the type, the status and the number of the error. Its text may contain a token or a signed address.
    """
    from huggingface_hub import constants, errors

    # These wrap the error that says why.
    while isinstance(error, errors.LocalEntryNotFoundError | RuntimeError) and error.__cause__ is not None:
        error = error.__cause__
    server, status = constants.ENDPOINT.rpartition("://")[2].rpartition("@")[2], _status(error)
    if isinstance(error, errors.HFValidationError):
        return f"{repository} is not a valid name of a repository. Write USER/NAME."
    if isinstance(error, errors.OfflineModeIsEnabled):
        return f"HF_HUB_OFFLINE is set, and the cache has no model of {repository}. Unset it to use {server}."
    if isinstance(error, errors.GatedRepoError):
        return f"Access to {repository} is restricted. Ask for it on its page at {server}, then {LOG_IN}."
    if isinstance(error, errors.RepositoryNotFoundError) or status == 401:
        return f"{server} has no repository {repository}, or you are not logged in. Check the name, and {LOG_IN}."
    if isinstance(error, errors.RevisionNotFoundError):
        return f"{repository} has no revision {revision or 'main'}."
    if isinstance(error, errors.EntryNotFoundError):
        return f"{repository} has no file {MODEL}, so it is not a model of this package."
    if status == 403:
        return f"The token has no permission for {repository} ({server}). Use another token: {LOG_IN}."
    if status is not None:
        return f"{server} answers {status} for {repository}. Try again later."
    if isinstance(error, OSError) and error.filename is not None:
        return f"Cannot write {error.filename} ({error.strerror}). Free space, or choose another folder with HF_HOME."
    if isinstance(error, errors.FileMetadataError | ValueError):
        return (
            f"{server} is not a server of the Hugging Face Hub, or refuses the files. Check HF_ENDPOINT and the card."
        )
    # By name: the class is of the HTTP client, httpx or httpx2.
    if isinstance(error, OSError | errors.HTTPError) or type(error).__name__ == "InvalidURL":
        return f"{server} is not reachable ({_reason(error)}). Check the network and HF_ENDPOINT."
    return None


def _status(error: BaseException) -> int | None:
    """The status of an answer of the server."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) else None


def _reason(error: BaseException) -> str:
    """The text of the error of the operating system that caused an error, else the name of its type."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return type(error).__name__
