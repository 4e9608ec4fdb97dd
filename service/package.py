"""``import adavae``: the ``__init__`` of the installed package.

Everything else is imported on first use, so importing adavae costs nothing.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import ModuleType

    from adavae.model.loaded_set import LoadedSet
    from adavae.service.client.latent import AdaVAEClient as Client

__all__ = ["Client", "evaluate", "load", "pair", "train"]


def load(reference: str | None = None, *, device: str | None = None) -> "LoadedSet":
    """An adapter set over the configured backbone, ready to encode, decode, interpolate and more in this process.

        >>> import adavae
        >>> yelp = adavae.load("yelp")
        >>> mu = yelp.encode(["the food was great.", "never again."]).mu
        >>> mu.shape == (2, yelp.latent_size)
        True
        >>> [step.tau for step in yelp.interpolate("never again.", "the food was great.", steps=3, max_tokens=20)]
        [0.0, 0.5, 1.0]

    Args:
        reference: ``name`` or ``name@version``; the default adapter set if left out.
        device: ``auto``, ``cpu`` or ``cuda`` in place of the setting.

    Raises:
        AdaVAEError: The set or the backbone is missing, damaged, or does not fit the other.
        ImportError: Only the client is installed.
    """
    try:
        from adavae.model.loaded_set import LoadedSet
        from adavae.service.loading import load_text_model
        from adavae.service.settings import load_settings
    except ModuleNotFoundError as exc:
        if not (exc.name or "").startswith("adavae"):
            raise
        raise ImportError("this is adavae's client alone, which loads no sets: install adavae in its place") from exc

    settings = load_settings()
    name = reference or settings.default_adapter
    return LoadedSet(load_text_model(settings, [name], device), name)


def train(
    texts: "Iterable[str]",
    labels: "Iterable[object] | None" = None,
    *,
    name: str,
    preset: str = "generation",
    validation_texts: "Iterable[str] | None" = None,
    validation_labels: "Iterable[object] | None" = None,
    truncate: bool = False,
    device: str | None = None,
    progress: bool | None = None,
    num_processes: int = 1,
    init_from: str | None = None,
    **options: Any,
) -> "LoadedSet":
    """A new adapter set from texts, measured on some that are held back, installed, and loaded.

        >>> import adavae
        >>> texts = [f"the food was {how} on day {day}." for day in range(30) for how in ("great", "awful")]
        >>> labels = ["good", "bad"] * 30
        >>> days = adavae.train(texts, labels, name="days", preset="classification", epochs=2, progress=False)
        >>> days.labels
        ('bad', 'good')
        >>> len(days.classify(["the food was great on day 3."]))
        1

    Args:
        texts: A list, or a column of pandas, polars or datasets; two texts for each row are joined by ``pair``.
        labels: One for each text, or None; strings, numbers or booleans, which are
            spelled as ``str`` does: ``1``, ``1.0``, ``True``.
        name: Of the set.
        preset: ``generation``, ``language-modelling`` or ``classification``.
        validation_texts: Held back from training; split off ``texts`` if left out.
        validation_labels: One for each of them.
        truncate: Cut texts that are longer than the context instead of refusing them.
        device: ``auto``, ``cpu`` or ``cuda`` in place of the setting.
        progress: Whether to draw bars on stderr; None draws them on terminals and in notebooks.
        num_processes: Processes of this machine that share each step's texts; on GPUs one for each.
        init_from: ``name`` or ``name@version`` of an installed set to go on from: its sizes, its tensors.
        options: Settings in place of the preset's, named as ``adavae train`` has them:
            ``epochs=2, latent_size=128, seed=1``.

    Raises:
        ConfigError: A name, option or column that cannot be, or another size than the set of ``init_from`` has.
        AdapterSetNotFound: There is no set ``init_from``.
        AdapterSetMismatch: It is for another backbone.
        DatasetError: A text cannot be used, or there are too few.
        AdaVAEError: The backbone is missing, or the set that came out is worse than nothing.
    """
    trained: LoadedSet = _library().train(
        texts,
        labels,
        name=name,
        preset=preset,
        validation_texts=validation_texts,
        validation_labels=validation_labels,
        truncate=truncate,
        device=device,
        progress=progress,
        num_processes=num_processes,
        init_from=init_from,
        options=options,
    )
    return trained


def evaluate(
    texts: "Iterable[str]",
    labels: "Iterable[object] | None" = None,
    *,
    adapter: "str | LoadedSet | None" = None,
    judge_texts: "Iterable[str] | None" = None,
    judge_labels: "Iterable[object] | None" = None,
    importance_samples: int = 100,
    importance_rows: int = 500,
    decoded: int = 1000,
    latent_space: bool = True,
    seed: int = 0,
    device: str | None = None,
    progress: bool | None = None,
) -> dict[str, Any]:
    """The figures of an adapter set on texts that it was not trained on, as ``adavae evaluate --json`` gives them.

        >>> import adavae
        >>> figures = adavae.evaluate(["the food was great.", "never again."], adapter="yelp", latent_space=False)
        >>> figures["rows"], figures["decoded_rows"]
        (2, 2)

    Args:
        texts: As for ``train``.
        labels: As for ``train``.
        adapter: ``name``, ``name@version``, or a loaded set; the default adapter set if left out.
        judge_texts: The set's training texts, from which those learn who judge fluency and labels.
        judge_labels: Their labels.
        importance_samples: Per text, for the perplexity; 0 leaves it out.
        importance_rows: Texts that the perplexity is measured on at most.
        decoded: Texts decoded again for BLEU and exact match; 0 for none.
        latent_space: Whether to measure what the latent space writes, which takes most of the time.
        seed: Of every random draw.
        device: As for ``train``.
        progress: As for ``train``.

    Raises:
        AdaVAEError: As ``load`` and ``train``.
    """
    figures: dict[str, Any] = _library().evaluate(
        texts,
        labels,
        adapter=adapter,
        judge_texts=judge_texts,
        judge_labels=judge_labels,
        importance_samples=importance_samples,
        importance_rows=importance_rows,
        decoded=decoded,
        latent_space=latent_space,
        seed=seed,
        device=device,
        progress=progress,
    )
    return figures


def pair(text: str, text_pair: str) -> str:
    """Two texts as one, as a set trained on pairs reads them: for ``encode`` and ``classify`` of set and client.

    Raises:
        ConfigError: A text holds what stands between the two.
    """
    from adavae.model.pairs import joined

    return joined(text, text_pair)


def _library() -> "ModuleType":
    """What trains and measures; raises ImportError where only the client is installed."""
    try:
        from adavae.service import library
        from adavae.service.settings import keep_few_kernels
    except ImportError as exc:
        if not (getattr(exc, "name", "") or "").startswith("adavae"):
            raise
        raise ImportError("this is adavae's client alone, which trains no sets: install adavae in its place") from exc
    keep_few_kernels()
    return library


def __getattr__(name: str) -> object:
    if name == "Client":
        from adavae.service.client.latent import AdaVAEClient

        return AdaVAEClient
    raise AttributeError(f"module 'adavae' has no attribute {name!r}: it has {', '.join(__all__)}")
