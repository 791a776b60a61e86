//! What is installed in a virtualenv, read into trees.
//!
//! Every distribution is read from its RECORD (recording installed projects specification) and becomes
//! the tree that its wheel would become: what an installer wrote into it for this one place (interpreters
//! in first lines, the scripts of entry points, byte code) is made general again. Files are read and
//! compared with RECORD; nothing in the virtualenv is written, and nothing of it is run but its
//! interpreter, once, to ask what it is.

pub mod direct_url;
pub mod distribution;
pub mod egg_link;
pub mod files;
pub mod first_line;
pub mod legacy;
pub mod place;
pub mod pth;
pub mod survey;
pub mod unowned;
pub mod virtualenv;

pub use self::distribution::Distribution;
pub use self::files::{Contents, read};
pub use self::survey::{Editable, Survey};
pub use self::virtualenv::Virtualenv;
