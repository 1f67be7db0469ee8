//! The control socket: commands to a running server, a line of JSON each way. Its file lies in the folder of all state, so that whoever
//! may open it may read the data as well.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};

use super::listen::{SocketFile, bind_unix};
use super::tasks::Tasks;
use crate::limits::CONTROL_LINE_BYTES_MAX;
use crate::service::admin::{Command, Outcome};
use crate::service::setup::state_folder;
use crate::service::{Refusal, Services};

/// What comes back.
#[derive(Debug, Serialize, Deserialize)]
enum Reply {
    Outcome(Box<Outcome>),
    Refusal(Refusal),
}

/// A bound control socket.
#[derive(Debug)]
pub struct Control {
    listener: UnixListener,
    _file: SocketFile,
    _folder: Option<std::fs::File>,
}

/// The path of the socket, in a form that fits the 107 bytes of a socket address; the open folder keeps the short form valid.
fn socket_path(data: &Path) -> io::Result<(PathBuf, Option<std::fs::File>)> {
    use std::os::fd::AsRawFd as _;
    let path = state_folder(data).join("control.sock");
    if path.as_os_str().len() < 100 {
        return Ok((path, None));
    }
    let folder = std::fs::File::open(state_folder(data))?;
    Ok((PathBuf::from(format!("/proc/self/fd/{}/control.sock", folder.as_raw_fd())), Some(folder)))
}

/// Binds the control socket of a data folder whose store is open, so that nobody else serves it.
///
/// # Errors
/// Where the folder cannot be written.
pub fn bind(data: &Path) -> io::Result<Control> {
    let (path, folder) = socket_path(data)?;
    let (listener, file) = bind_unix(&path, 0o600)?;
    Ok(Control { listener, _file: file, _folder: folder })
}

/// Serves commands until the server stops.
pub async fn serve(control: Control, services: Services, tasks: Tasks) {
    let stop = tasks.stopping();
    while let Some(accepted) = stop.run_until_cancelled(control.listener.accept()).await {
        match accepted {
            Ok((stream, _)) => {
                let services = services.clone();
                tasks.spawn_until_killed(async move {
                    if let Err(error) = converse(stream, &services).await {
                        tracing::debug!(%error, "a command broke off");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the control socket fails");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
}

async fn converse(stream: UnixStream, services: &Services) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = Vec::new();
    (&mut stream).take(CONTROL_LINE_BYTES_MAX).read_until(b'\n', &mut line).await?;
    let reply = match serde_json::from_slice::<Command>(&line) {
        Ok(command) => match services.execute(command).await {
            Ok(outcome) => Reply::Outcome(Box::new(outcome)),
            Err(refusal) => Reply::Refusal(refusal),
        },
        // The text of the error may repeat a password.
        Err(_error) => Reply::Refusal(Refusal::usage("the server does not know this command; is it another version?")),
    };
    let mut answer = serde_json::to_vec(&reply)?;
    answer.push(b'\n');
    stream.get_mut().write_all(&answer).await?;
    stream.get_mut().shutdown().await
}

/// Sends a command to the server of a data folder; none where no server runs there.
///
/// # Errors
/// What the server refuses; a connection that breaks off.
pub async fn send(data: &Path, command: &Command) -> Option<Result<Outcome, Refusal>> {
    let (path, _folder) = socket_path(data).ok()?;
    let stream = UnixStream::connect(path).await.ok()?;
    Some(ask(stream, command).await.unwrap_or_else(|error| Err(Refusal::failed(format!("the running server does not answer: {error}")))))
}

async fn ask(mut stream: UnixStream, command: &Command) -> io::Result<Result<Outcome, Refusal>> {
    let mut line = serde_json::to_vec(command)?;
    line.push(b'\n');
    stream.write_all(&line).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(match serde_json::from_slice(&answer)? {
        Reply::Outcome(outcome) => Ok(*outcome),
        Reply::Refusal(refusal) => Err(refusal),
    })
}
