"""`python -m kroasync`: the same as the `kroasync` command."""

from kroasync.cli.main import main

if __name__ == "__main__":
    main()
