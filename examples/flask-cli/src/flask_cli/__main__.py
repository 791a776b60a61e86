from flask_cli.cli import main

main()
