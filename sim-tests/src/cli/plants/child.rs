//! Programs with a bug in them: they may never end.

use std::io::Read;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How often one is looked at: it is as exact as its time is known.
const PAUSE: Duration = Duration::from_millis(5);

/// Runs a program to its end; after `lasts` it is killed. Returns what it printed.
///
/// # Errors
/// That it can't be started, or does not end.
pub(super) fn output(command: &mut Command, lasts: Duration) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let mut child = child.map_err(|error| format!("{name} can't be started: {error}"))?;
    let stdout = child.stdout.take();
    let reader = thread::spawn(move || {
        let mut text = Vec::new();
        // What was printed before an error is all there is.
        let _ = stdout.map(|mut stdout| stdout.read_to_end(&mut text));
        String::from_utf8_lossy(&text).into_owned()
    });
    let began = Instant::now();
    let ended = loop {
        match child.try_wait() {
            Ok(None) if began.elapsed() < lasts => thread::sleep(PAUSE),
            Ok(Some(_)) => break Ok(()),
            Ok(None) => break Err(format!("it did not end within {} s", lasts.as_secs())),
            Err(error) => break Err(format!("{name} can't be waited for: {error}")),
        }
    };
    if ended.is_err() {
        // It may have ended by itself meanwhile.
        let _ = child.kill().and_then(|()| child.wait());
    }
    let text = reader.join().map_err(|_| format!("what {name} printed can't be read"))?;
    ended.map(|()| text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_end_is_ended() {
        let mut echo = Command::new("echo");
        assert_eq!(output(echo.arg("hello"), Duration::from_secs(60)), Ok("hello\n".into()));
        let began = Instant::now();
        let stuck = output(Command::new("sleep").arg("600"), Duration::from_millis(50));
        assert_eq!(stuck, Err("it did not end within 0 s".into()));
        assert!(began.elapsed() < Duration::from_secs(60));
        assert!(output(&mut Command::new("/nowhere"), Duration::from_secs(1)).is_err());
    }
}
