"""`python -m atomscope` is the program `atomscope`."""

from atomscope.apps.cli import main

if __name__ == "__main__":
    main()
