//! A real guest: QEMU with software emulation, a Linux kernel and a shell on the console.
//!
//! The assets are made by `tests/guest/prepare.sh`, which the first test that wants a guest runs; `HEARTH_GUEST_DIR` keeps
//! them elsewhere. Software emulation only, so that no machine's virtualisation matters; ready in 2 to 5 s.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufStream};
use tokio::net::UnixStream;

use super::hearth::wait_until;

/// Booting takes 2 to 5 s, much longer on a busy machine.
const BOOT_PATIENCE: Duration = Duration::from_secs(120);

/// One command in the guest.
const COMMAND_PATIENCE: Duration = Duration::from_secs(60);

/// The machine type, which decides how disks are plugged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    /// Conventional PCI: any number of disks.
    Pc,
    /// PCI Express with this many ports for one disk each.
    Q35 {
        /// Ports.
        ports: usize,
    },
    /// The same, with processors that never start: firmware and kernel would look at hundreds of ports for minutes.
    Halted {
        /// Ports.
        ports: usize,
    },
}

/// A running guest; ends with this value.
pub struct Guest {
    qemu: Child,
    console: UnixStream,
    qmp: PathBuf,
    eye: PathBuf,
}

impl Guest {
    /// Boots a guest with this uuid, its sockets in `dir`, and waits until it takes commands.
    pub async fn boot(dir: &Path, uuid: &str, machine: Machine) -> Self {
        let assets = tokio::task::spawn_blocking(assets).await.expect("prepared");
        let [console, qmp, eye] = ["con", "qmp", "eye"].map(|end| dir.join(format!("{uuid}.{end}")));
        let mut command = Command::new("qemu-system-x86_64");
        command
            .args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"])
            .args(["-accel", "tcg", "-cpu", "max", "-m", "128", "-smp", "1", "-uuid", uuid])
            .arg("-kernel")
            .arg(assets.join("vmlinuz"))
            .arg("-initrd")
            .arg(assets.join("initrd.gz"))
            .args(["-append", "console=ttyS0 quiet panic=-1 tsc=reliable no_timer_check"])
            .arg("-chardev")
            .arg(format!("socket,id=con,path={},server=on,wait=on", console.display()))
            .args(["-serial", "chardev:con"])
            .arg("-qmp")
            .arg(format!("unix:{},server=on,wait=off", qmp.display()))
            .arg("-qmp")
            .arg(format!("unix:{},server=on,wait=off", eye.display()));
        match machine {
            Machine::Pc => {
                command.args(["-M", "pc"]);
            }
            Machine::Q35 { ports } | Machine::Halted { ports } => {
                command.args(["-M", "q35"]);
                if machine == (Machine::Halted { ports }) {
                    command.arg("-S");
                }
                // Eight ports share a slot of the root bus; the first ones of it are the machine's own.
                for port in 0..ports {
                    let (slot, function) = (port / 8 + 3, port % 8);
                    command.arg("-device").arg(format!(
                        "pcie-root-port,id=rp{port},chassis={port},slot={port},multifunction=on,addr={slot:x}.{function}"
                    ));
                }
            }
        }
        let log = std::fs::File::create(dir.join(format!("{uuid}.log"))).expect("a log");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let qemu = command.spawn().expect("qemu-system-x86_64 starts");
        // From here on the process is stopped whatever happens.
        let mut qemu = KillOnDrop(Some(qemu));
        let booted = tokio::time::timeout(BOOT_PATIENCE, async {
            let mut console = wait_for_console(&console, || {
                let running = qemu.0.as_mut().expect("held").try_wait().expect("waited").is_none();
                let log = || std::fs::read_to_string(dir.join(format!("{uuid}.log"))).unwrap_or_default();
                assert!(running, "the guest's process ended: {}", log());
            })
            .await;
            if !matches!(machine, Machine::Halted { .. }) {
                read_until(&mut console, "GUEST-READY").await;
            }
            console
        });
        let console = booted.await.expect("the guest boots in time");
        Self { qemu: qemu.0.take().expect("held"), console, qmp, eye }
    }

    /// Its QMP socket.
    pub fn qmp(&self) -> &Path {
        &self.qmp
    }

    /// One command of the human monitor, over a socket that nobody else uses: what it printed.
    pub async fn monitor(&self, command_line: &str) -> String {
        let talk = async {
            let mut stream = BufStream::new(UnixStream::connect(&self.eye).await.expect("connected"));
            // An event may come before the greeting: QEMU takes the socket as that of the former client for a moment.
            while message(&mut stream).await.get("QMP").is_none() {}
            ask(&mut stream, json!({"execute": "qmp_capabilities"})).await;
            let arguments = json!({"command-line": command_line});
            let printed = ask(&mut stream, json!({"execute": "human-monitor-command", "arguments": arguments})).await;
            printed.as_str().expect("a text").to_owned()
        };
        tokio::time::timeout(COMMAND_PATIENCE, talk).await.expect("the monitor answers in time")
    }

    /// Carries out one shell command in the guest: what it printed, and whether it succeeded.
    pub async fn run(&mut self, command: &str) -> (String, bool) {
        tokio::time::timeout(COMMAND_PATIENCE, async {
            self.console.write_all(format!("{command}\n").as_bytes()).await.expect("the guest lives");
            let mut text = read_until(&mut self.console, "END-").await;
            let status = read_until(&mut self.console, "\n").await;
            text.truncate(text.len() - "END-".len());
            (text.replace('\r', "").trim().to_owned(), status.trim() == "0\n" || status.trim() == "0")
        })
        .await
        .unwrap_or_else(|_| panic!("the guest did not answer in time: {command}"))
    }

    /// Gives it a command that ends its process, and waits for that.
    pub async fn ends(&mut self, command: &str) {
        self.console.write_all(format!("{command}\n").as_bytes()).await.expect("the guest lives");
        wait_until("the guest's process has ended", async || self.qemu.try_wait().expect("waited").is_some()).await;
    }

    /// Waits until a shell condition holds in the guest.
    pub async fn until(&mut self, condition: &str) {
        let (_, held) = self
            .run(&format!(
                "n=0; until {condition}; do n=$((n+1)); [ $n -gt 500 ] && break; usleep 20000; done; {condition}"
            ))
            .await;
        assert!(held, "never true in the guest: {condition}");
    }

    /// Stops its process: whoever asks it waits.
    pub fn freeze(&self) {
        self.signal(libc::SIGSTOP);
    }

    /// Lets its process go on.
    pub fn thaw(&self) {
        self.signal(libc::SIGCONT);
    }

    fn signal(&self, signal: i32) {
        let pid = i32::try_from(self.qemu.id()).expect("a process id");
        // SAFETY: a signal to a child that has not been waited for.
        assert_eq!(unsafe { libc::kill(pid, signal) }, 0, "the guest's process is there");
    }

    /// Ends the guest at once, as a crash of its process.
    pub fn kill(&mut self) {
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.kill();
    }
}

struct KillOnDrop(Option<Child>);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Connects to the console as soon as QEMU listens; `alive` fails when it never will.
async fn wait_for_console(console: &Path, mut alive: impl FnMut()) -> UnixStream {
    loop {
        if let Ok(stream) = UnixStream::connect(console).await {
            return stream;
        }
        alive();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The next message of a QMP server.
async fn message(stream: &mut BufStream<UnixStream>) -> Value {
    let mut line = String::new();
    stream.read_line(&mut line).await.expect("the monitor lives");
    serde_json::from_str(&line).expect("a message")
}

/// One command: what it returned, events left aside.
async fn ask(stream: &mut BufStream<UnixStream>, mut command: Value) -> Value {
    command["id"] = json!("eye");
    stream.write_all(format!("{command}\n").as_bytes()).await.expect("the monitor lives");
    stream.flush().await.expect("the monitor lives");
    loop {
        let mut answer = message(stream).await;
        if answer["id"] == "eye" {
            assert!(answer.get("return").is_some(), "{command}: {answer}");
            return answer["return"].take();
        }
    }
}

/// Everything up to and with `mark`.
async fn read_until(console: &mut UnixStream, mark: &str) -> String {
    let mut text = Vec::new();
    while !text.ends_with(mark.as_bytes()) {
        // Byte by byte: what follows the mark belongs to the next reader.
        let byte = console.read_u8().await.unwrap_or_else(|error| {
            panic!("the guest's console ended ({error}): {}", String::from_utf8_lossy(&text));
        });
        text.push(byte);
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// The directory with the guest's kernel and RAM disk, made on first use.
fn assets() -> PathBuf {
    static ASSETS: OnceLock<PathBuf> = OnceLock::new();
    ASSETS
        .get_or_init(|| {
            let root = Path::new(env!("CARGO_MANIFEST_DIR"));
            let dir = std::env::var_os("HEARTH_GUEST_DIR").map_or_else(|| root.join("target/guest"), PathBuf::from);
            let prepared = Command::new(root.join("tests/guest/prepare.sh"))
                .env("HEARTH_GUEST_DIR", &dir)
                .output()
                .expect("tests/guest/prepare.sh runs");
            let words = String::from_utf8_lossy(&prepared.stderr);
            assert!(prepared.status.success(), "tests/guest/prepare.sh failed:\n{words}");
            dir
        })
        .clone()
}
