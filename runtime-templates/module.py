# Does what `python -m {module}` does, without putting the working directory on sys.path.
import runpy

if __name__ == "__main__":
    runpy._run_module_as_main("{module}")
