from peers_hello.main import main

if __name__ == "__main__":
    main()
