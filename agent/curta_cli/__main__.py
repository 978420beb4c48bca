"""`python -m curta_cli`: the same as `curta`, also where the script is not on the path."""

from curta_cli.main import main

if __name__ == "__main__":
    main()
