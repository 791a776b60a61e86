from peers_flask.main import main

if __name__ == "__main__":
    main()
