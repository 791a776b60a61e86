//! Entries as people write them, read and looked up.

use super::*;

fn parse(text: &str) -> EntryPoint {
    EntryPoint::parse(text).unwrap()
}

fn known() -> Known<'static> {
    let app = ["app/manage.py", "app/tool", "app/site/__init__.py"];
    let layers = [
        "venv/lib/python3.12/site-packages/flask/__init__.py",
        "venv/lib/python3.12/site-packages/flask/__main__.py",
        "venv/lib/python3.12/site-packages/fast/core.cpython-312-x86_64-linux-gnu.so",
        "python/lib/python3.12/http/server.py",
    ];
    Known::new(["flask".to_owned(), "gunicorn".to_owned()], app, move || Box::new(layers.into_iter()))
}

fn resolved(text: &str) -> Result<Entry> {
    resolve_entry(&parse(text).entry, &known())
}

#[test]
fn every_way_to_write_an_entry_is_read() {
    let function = Entry::Function { module: "a.b".into(), attribute: "C.d".into() };
    assert_eq!(parse("a.b:C.d").entry, function);
    assert_eq!(
        parse("-m http.server 80"),
        EntryPoint { args: vec!["80".into()], ..EntryPoint::of(Entry::Module("http.server".into())) }
    );
    assert_eq!(parse("./src/x.py").entry, Entry::File(TreePath::new("app/src/x.py").unwrap()));
    let web = parse("gunicorn mysite.wsgi --bind '0.0.0.0:80 x'");
    assert_eq!(web.entry, Entry::Named("gunicorn".into()));
    assert_eq!(web.args, ["mysite.wsgi", "--bind", "0.0.0.0:80 x"]);
}

#[test]
fn what_people_write_in_front_of_a_command_is_understood() {
    let manage = || Entry::File(TreePath::new("app/manage.py").unwrap());
    assert_eq!(
        parse("python manage.py migrate"),
        EntryPoint { args: vec!["migrate".into()], ..EntryPoint::of(manage()) }
    );
    assert_eq!(parse("python3 -m a.b").entry, Entry::Module("a.b".into()));
    assert_eq!(parse("python3.12 tool").entry, Entry::File(TreePath::new("app/tool").unwrap()));
    let unbuffered = parse("A='x $y' exec python -u manage.py");
    assert_eq!(unbuffered.entry, manage());
    assert_eq!(
        unbuffered.variables,
        [("A", "x $y"), ("PYTHONUNBUFFERED", "1")].map(|(a, b)| (a.into(), b.into())).into()
    );
    assert!(!unbuffered.expand);
}

#[test]
fn arguments_that_name_variables_are_templates() {
    let web = parse("A=$B gunicorn a --bind 0.0.0.0:$PORT 'costs $5' \"$X\"");
    assert!(web.expand);
    assert_eq!(web.args, ["a", "--bind", "0.0.0.0:${PORT}", "costs $$5", "$={X}"]);
    assert_eq!(web.variables["A"], "${B}");
    let plain = parse("gunicorn 'costs $5'");
    assert_eq!((plain.expand, plain.args[0].as_str()), (false, "costs $5"));
}

#[test]
fn an_entry_that_cannot_be_one_is_refused() {
    for text in [
        "",
        "a:",
        ":f",
        "a b'",
        "a.b:f()",
        "../x.py",
        "/etc/x.py",
        "-x",
        "-m",
        "-m a-b",
        "a..b:f",
        "A=1",
        "exec",
        "$X a",
        "python",
        "python -c x",
        "python -u",
        "python /x.py",
        "a && b",
    ] {
        assert!(EntryPoint::parse(text).is_err(), "{text:?}");
    }
}

#[test]
fn a_name_is_a_script_before_it_is_a_file_or_a_module() {
    assert_eq!(resolved("flask").unwrap(), Entry::Script("flask".into()));
    assert_eq!(resolved("tool").unwrap(), Entry::File(TreePath::new("app/tool").unwrap()));
    assert_eq!(resolved("http.server").unwrap(), Entry::Module("http.server".into()));
    assert_eq!(resolved("-m flask").unwrap(), Entry::Module("flask".into()));
    assert!(resolved("fast.core:run").is_ok());
}

#[test]
fn an_unknown_entry_is_answered_with_what_exists() {
    let error = resolved("gunicron").unwrap_err();
    assert_eq!(
        error.to_string(),
        "there is no console script, module or file called \"gunicron\"; \
         console scripts: flask, gunicorn; files of the app: manage.py"
    );
    assert_eq!(error.advice(), Some("did you mean gunicorn?"));
    assert_eq!(resolved("mange.py").unwrap_err().advice(), Some("did you mean manage.py?"));
    let package = resolved("-m site").unwrap_err();
    assert_eq!(package.to_string(), "the package site cannot be started: it has no __main__.py");
}
