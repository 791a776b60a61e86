//! What a runtime adds to files of the standard library, behind what is there and marked as added.
//!
//! A Python expects certificates, time zones, libraries and its own prefix where it was built to find them. The
//! files that ask for those get a few lines of ours that know better (`runtime-templates/amend_*.py`), because the
//! other ways reach further: a variable would be inherited by every program that the app starts, a start-up hook
//! would cost every start.

/// The files, and what is added to each.
const AMENDED: [(&str, &str); 5] = [
    ("ssl.py", include_str!("../../runtime-templates/amend_ssl.py")),
    ("zoneinfo/_common.py", include_str!("../../runtime-templates/amend_zoneinfo_common.py")),
    ("zoneinfo/_tzpath.py", include_str!("../../runtime-templates/amend_zoneinfo_tzpath.py")),
    ("ctypes/util.py", include_str!("../../runtime-templates/amend_ctypes_util.py")),
    ("tkinter/__init__.py", include_str!("../../runtime-templates/amend_tkinter.py")),
];

/// What is added to this file of the standard library, if anything is.
pub fn addition(name: &str) -> Option<&'static str> {
    AMENDED.iter().find(|(amended, _)| *amended == name).map(|(_, text)| *text)
}

/// The file with it. A file that does not end with a line break gets one.
pub fn amended(mut text: Vec<u8>, addition: &str) -> Vec<u8> {
    if text.last().is_some_and(|byte| *byte != b'\n') {
        text.push(b'\n');
    }
    text.extend_from_slice(addition.as_bytes());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_added_says_so_and_stands_behind_what_is_there() {
        for (name, text) in AMENDED {
            assert!(text.starts_with("\n\n# Added by coil"), "{name}");
            assert!(addition(name).is_some() && addition(&format!("x/{name}")).is_none());
        }
        assert_eq!(amended(b"a = 1".to_vec(), "\n\nb\n"), b"a = 1\n\n\nb\n");
        assert_eq!(amended(b"a = 1\n".to_vec(), "b\n"), b"a = 1\nb\n");
    }
}
