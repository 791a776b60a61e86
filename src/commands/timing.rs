//! `coil run --timing`: the app is started, and then a small picture says where the time of its start went.
//!
//! The launcher's part is what it tells itself (`COIL_DEBUG`), Python's own start is that of the same interpreter with
//! nothing to do, and what is left is the app's. The app's streams are left alone.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anstyle::{AnsiColor, Style};
use coil_bootstrap::trace::{self, Told};

use crate::error::{Context, Failure, Result};

/// How long the picture is, in characters.
const WIDTH: usize = 40;

/// What is shorter than this share of the whole has no row of its own.
const ROW: f64 = 0.01;

/// How often the interpreter is started with nothing to do; the quickest counts.
const TRIES: usize = 3;

/// The launcher's own steps, where they get a row.
const LAUNCHER: &str = "launcher";

/// One stretch of the time.
#[derive(Debug, Clone, PartialEq)]
struct Row {
    name: &'static str,
    time: Duration,
}

/// Starts the bundle with these arguments, waits for its end, draws the picture on standard error and returns the exit
/// code: the app's, or 128 and the number of the signal it died of.
pub fn start(bundle: &Path, mut command: Command) -> Result<i32> {
    let (status, time, told) = timed(bundle, &mut command)?;
    let python = (0..TRIES).filter_map(|_| python(bundle)).min();
    let rows = rows(&told, time, python);
    let fancy = std::io::stderr().is_terminal();
    // With standard error closed there is nobody to tell.
    let _ = anstream::stderr().write_all(picture(&rows, time, &layers(&told), fancy).as_bytes());
    Ok(status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)))
}

/// Runs the command, and returns how it ended, how long it took and what the launcher told.
fn timed(bundle: &Path, command: &mut Command) -> Result<(ExitStatus, Duration, Vec<Told>)> {
    let notes = tempfile::NamedTempFile::new_in(std::env::temp_dir())
        .context(|| "cannot create a file for the times".into())?;
    command.env(trace::VARIABLE, notes.path());
    let start = Instant::now();
    let status = command.status();
    let time = start.elapsed();
    let status =
        status.map_err(|error| Failure::new(format!("cannot start {}", bundle.display())).because(error))?;
    let text = std::fs::read_to_string(notes.path()).unwrap_or_default();
    Ok((status, time, text.lines().filter_map(Told::parse).collect()))
}

/// How long the interpreter inside takes to start and end, without the launcher's part.
fn python(bundle: &Path) -> Option<Duration> {
    let mut command = Command::new(bundle);
    command.args(["-c", "pass"]).env("COIL", "python").stdin(Stdio::null()).stdout(Stdio::null());
    let (status, time, told) = timed(bundle, &mut command).ok()?;
    status.success().then(|| time.saturating_sub(end(&told)))
}

/// When the launcher became the app.
fn end(told: &[Told]) -> Duration {
    told.last().map_or(Duration::ZERO, |last| last.at)
}

/// The stretches of `time`, in order.
fn rows(told: &[Told], time: Duration, python: Option<Duration>) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    let mut add = |name: &'static str, time: Duration| match rows.iter_mut().find(|row| row.name == name) {
        Some(row) => row.time += time,
        None => rows.push(Row { name, time }),
    };
    for one in told {
        add(step(&one.subject), one.step);
    }
    let rest = time.saturating_sub(end(told));
    let python = python.unwrap_or_default().min(rest);
    add("Python", python);
    add("app", rest - python);
    let is_long = |row: &Row| row.time.as_secs_f64() >= ROW * time.as_secs_f64();
    let always = |row: &Row| [LAUNCHER, "Python", "app"].contains(&row.name);
    let short: Duration = rows.iter().filter(|row| !is_long(row) && !always(row)).map(|row| row.time).sum();
    rows.retain(|row| is_long(row) || always(row));
    if let Some(launcher) = rows.iter_mut().find(|row| row.name == LAUNCHER) {
        launcher.time += short;
    }
    rows
}

/// What the user calls a step of the launcher.
fn step(subject: &str) -> &'static str {
    match subject {
        "lock" => "wait",
        "layer" | "unpack" => "unpack",
        "settle" => "settle",
        "environment" => "link",
        "sweep" | "clean-up" => "clean up",
        _ => LAUNCHER,
    }
}

/// What was said of layers that were unpacked.
fn layers(told: &[Told]) -> Vec<&str> {
    told.iter().filter(|one| one.subject == "layer").map(|one| one.sentence.as_str()).collect()
}

/// The rows as bars that begin where the one before has ended.
fn picture(rows: &[Row], time: Duration, layers: &[&str], fancy: bool) -> String {
    const COLORS: [AnsiColor; 3] = [AnsiColor::Cyan, AnsiColor::Blue, AnsiColor::Green];
    let (full, empty) = if fancy { ("█", " ") } else { ("#", ".") };
    let whole = time.as_secs_f64().max(f64::MIN_POSITIVE);
    let place = |time: Duration| ((time.as_secs_f64() / whole) * WIDTH as f64).round() as usize;
    let mut text = String::new();
    let mut at = Duration::ZERO;
    for (row, color) in rows.iter().zip(COLORS.iter().cycle()) {
        let begin = place(at).min(WIDTH - 1);
        at += row.time;
        let length = place(at).clamp(begin + 1, WIDTH) - begin;
        let style = if fancy { Style::new().fg_color(Some((*color).into())) } else { Style::new() };
        let bar = format!("{style}{}{style:#}", full.repeat(length));
        let (before, after) = (empty.repeat(begin), empty.repeat(WIDTH - begin - length));
        let share = 100.0 * row.time.as_secs_f64() / whole;
        let time = trace::milliseconds(row.time);
        let _ = writeln!(text, "{:<9}{time:>12} {share:>4.0} % |{before}{bar}{after}|", row.name);
    }
    let _ = writeln!(text, "{:<9}{:>12}", "together", trace::milliseconds(time));
    for layer in layers {
        let _ = writeln!(text, "  {layer}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(at: u64, step: u64, subject: &str) -> Told {
        let micros = Duration::from_micros;
        Told { at: micros(at), step: micros(step), subject: subject.into(), sentence: format!("{subject}!") }
    }

    #[test]
    fn the_bars_follow_each_other_and_add_up() {
        let told = [
            told(100, 100, "host"),
            told(150, 50, "lock"),
            told(40_000, 39_850, "layer"),
            told(40_100, 100, "start"),
        ];
        let time = Duration::from_millis(100);
        let rows = rows(&told, time, Some(Duration::from_millis(20)));
        let all: Duration = rows.iter().map(|row| row.time).sum();
        assert_eq!(all, time, "{rows:?}");
        assert_eq!(
            picture(&rows, time, &layers(&told), false),
            "\
launcher     0.250 ms    0 % |#.......................................|
unpack      39.850 ms   40 % |################........................|
Python      20.000 ms   20 % |................########................|
app         39.900 ms   40 % |........................################|
together   100.000 ms
  layer!
"
        );
    }

    #[test]
    fn an_app_that_is_quicker_than_an_empty_one_has_no_negative_time() {
        let rows = rows(&[told(100, 100, "start")], Duration::from_millis(5), Some(Duration::from_millis(9)));
        let app = rows.iter().find(|row| row.name == "app").unwrap();
        assert_eq!(app.time, Duration::ZERO);
        assert!(picture(&rows, Duration::from_millis(5), &[], true).contains('█'));
    }
}
