//! Byte code without its sources: for a standard library that is to be small.

use coil_bootstrap::format::path::TreePath;

use super::{Compiler, python_files};
use crate::tree::Tree;

impl Compiler {
    /// Takes the sources below these directories away, and puts the byte code of each where Python then looks for it: in
    /// the place of its source (PEP 3147, "Case 4: legacy pyc files"). A source without byte code stays.
    pub fn drop_sources(&self, tree: &mut Tree, directories: &[&str]) {
        let sources: Vec<TreePath> = python_files(tree, directories).map(|(path, _)| path.clone()).collect();
        for source in sources {
            let compiled = self.place(&source).ok().and_then(|place| tree.remove(&place));
            let (Some(compiled), Ok(place)) = (compiled, TreePath::new(format!("{source}c"))) else {
                continue;
            };
            tree.remove(&source);
            // Where something is called so already, that is byte code, too.
            let _ = tree.insert(place, compiled);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::bytecode::tests::{compiler, tree};

    #[test]
    fn byte_code_takes_the_place_of_its_source() {
        let (_directory, compiler) = compiler();
        let mut tree = tree(&[
            ("lib/a.py", "x = 1"),
            ("lib/pkg/__init__.py", ""),
            ("lib/bad.py", "def"),
            ("app/b.py", ""),
        ]);
        compiler.compile(&mut tree, &["lib", "app"]).unwrap();
        compiler.drop_sources(&mut tree, &["lib"]);
        let names: Vec<String> = tree.iter().map(|(path, _)| path.to_string()).collect();
        let kept: Vec<&str> =
            names.iter().map(String::as_str).filter(|name| !name.starts_with("app/__pycache__")).collect();
        assert_eq!(kept, ["app/b.py", "lib/a.pyc", "lib/bad.py", "lib/pkg/__init__.pyc"]);
    }
}
