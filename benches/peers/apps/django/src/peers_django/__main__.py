from peers_django.main import main

if __name__ == "__main__":
    main()
