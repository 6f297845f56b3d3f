"""Write a stand-in for torchvision into the running environment.

AtomAI imports torchvision when it is loaded; there is no CPU build of it that matches the CPU
build of torch, and segmentation calls none of it. Run it with the Python of the peers'
environment: `peers/bin/python benchmarks/peers_stub.py`.
"""

from __future__ import annotations

import importlib.util
import sysconfig
from pathlib import Path

REFUSAL = """

def _refuse(*_args, **_kwargs):
    raise NotImplementedError("stand-in for torchvision: only its import works")

"""
FILES = {
    "__init__.py": '"""Stand-in for torchvision."""\n\n__version__ = "0.0.0"\n',
    "models.py": '"""Stand-in."""' + REFUSAL + "\nmobilenet_v2 = resnet50 = vgg16 = _refuse\n",
    "utils.py": '"""Stand-in."""' + REFUSAL + "\nmake_grid = _refuse\n",
}


def main() -> None:
    if importlib.util.find_spec("torchvision"):
        raise SystemExit("torchvision is installed already; nothing written.")
    folder = Path(sysconfig.get_paths()["purelib"]) / "torchvision"
    folder.mkdir()
    for name, text in FILES.items():
        (folder / name).write_text(text, encoding="utf-8")
    print(f"wrote {folder}")


if __name__ == "__main__":
    main()
