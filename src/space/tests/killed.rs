//! A process that is killed in the middle of its writes, and a disk that loses its power, for real: what was acknowledged is there.
use std::io::{BufRead, BufReader, Write as _};
use std::process::{Child, ChildStdout, Command, Stdio};

use super::*;

/// Set for the child: where its davroot is.
const CHILD: &str = "CAUSEWAY_TEST_KILLED_DAVROOT";
const WRITERS: usize = 8;

/// Not a test of its own: the process that the tests below start and kill.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let Ok(davroot) = std::env::var(CHILD) else {
        return;
    };
    let (_spaces, space) = open_when_free(Path::new(&davroot), &Clock::System, None);
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let space = Arc::clone(&space);
        writers.spawn(async move {
            for number in 0.. {
                let (name, moved) = (format!("w{writer}"), format!("m{writer}-{number}"));
                space.put(&at(&name), PutRequest::plain(), body(&format!("{number}"))).await.unwrap();
                writeln!(std::io::stdout(), "ack {writer} {number} put").unwrap();
                if number % 3 == 2 {
                    space.rename(&at(&name), &at(&moved), Write::unconditional(), Write::unconditional()).await.unwrap();
                    writeln!(std::io::stdout(), "ack {writer} {number} moved").unwrap();
                }
            }
        });
    }
    while writers.join_next().await.is_some() {}
}

/// The child, and what it acknowledged last: for each writer a number, and whether the file was moved after it.
struct Writing {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
    last: [Option<(u64, bool)>; WRITERS],
    heard: usize,
}

impl Writing {
    fn start(davroot: &Path) -> Writing {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "space::tests::killed::child", "--nocapture"])
            .env(CHILD, davroot)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Writing { child, lines, last: [None; WRITERS], heard: 0 }
    }

    /// Listens until so many writes were acknowledged, or until the child is gone.
    fn hear(&mut self, until: usize) {
        while self.heard < until
            && let Some(Ok(line)) = self.lines.next()
        {
            // Beside the first line the test harness prints its own words.
            let Some((_, ack)) = line.split_once("ack ") else { continue };
            let words: Vec<&str> = ack.split(' ').collect();
            self.last[words[0].parse::<usize>().unwrap()] = Some((words[1].parse::<u64>().unwrap(), words[2] == "moved"));
            self.heard += 1;
        }
    }

    /// Lets the child stand still. Its threads stop one by one, each only when its call to the kernel is done.
    fn stop(&self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
        let threads = PathBuf::from(format!("/proc/{}/task", self.child.id()));
        let stopped = |stat: &str| stat.rsplit_once(") ").is_some_and(|(_, state)| state.starts_with('T'));
        let still = || {
            let mut stats = std::fs::read_dir(&threads).unwrap().map(|thread| std::fs::read_to_string(thread.unwrap().path().join("stat")));
            stats.all(|stat| stat.is_ok_and(|stat| stopped(&stat)))
        };
        for _ in 0..20_000 {
            if still() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        panic!("the child does not stop");
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Everything acknowledged is there; what came after the last word may have happened or not.
    async fn check(&self, space: &Space) {
        for (writer, last) in self.last.iter().enumerate() {
            let Some((number, moved)) = *last else { continue };
            let file = if moved { format!("m{writer}-{number}") } else { format!("w{writer}") };
            match read(space, &file).await {
                Ok(text) => assert!(text == number.to_string() || text == (number + 1).to_string(), "{file} holds {text} after {number}"),
                Err(Error::NotFound) if !moved => {
                    let next = read(space, &format!("m{writer}-{number}")).await;
                    assert_eq!(next.unwrap(), number.to_string(), "writer {writer} lost {number}");
                }
                Err(error) => panic!("{file}: {error}"),
            }
            for old in (2..number).step_by(3) {
                assert_eq!(read(space, &format!("m{writer}-{old}")).await.unwrap(), old.to_string());
            }
        }
    }
}

async fn read(space: &Space, file: &str) -> Result<String> {
    let (node, open) = space.open(&at(file)).await?;
    assert!(node.checksum.is_some(), "{file} was adopted from the disk instead of being placed");
    Ok(String::from_utf8(open.read_small().await.unwrap().to_vec()).unwrap())
}

#[tokio::test]
async fn acknowledged_writes_survive_kill_9() {
    let mut directory = tempfile::tempdir().unwrap();
    for round in 0..3 {
        let mut writing = Writing::start(directory.path());
        writing.hear(60 + round * 37);
        writing.child.kill().unwrap();
        // What it said before it died counts as well.
        writing.hear(usize::MAX);
        writing.kill();
        assert!(writing.heard >= 60, "the child stopped by itself after {} writes", writing.heard);
        let (spaces, space) = open_when_free(directory.path(), &Clock::System, None);
        let home = Home { directory, spaces, space, clock: Clock::System };
        writing.check(&home.space).await;
        home.check().await;
        directory = home.directory;
    }
}

/// A file with a file system in it, mounted; gone when dropped.
struct Disk {
    mounted: PathBuf,
}

impl Disk {
    /// None where this process may not mount.
    fn mount(image: &Path, at: PathBuf) -> Option<Disk> {
        std::fs::create_dir_all(&at).unwrap();
        let done = Command::new("mount").args(["-o", "loop"]).arg(image).arg(&at).stderr(Stdio::null()).status();
        done.is_ok_and(|status| status.success()).then_some(Disk { mounted: at })
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Somebody may still close files there for a moment.
        for _ in 0..500 {
            if Command::new("umount").arg(&self.mounted).stderr(Stdio::null()).status().is_ok_and(|status| status.success()) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}

/// Copies an image that nobody but the kernel writes any more: a copy that was written meanwhile is of no one moment, and is made again.
fn copy_at_rest(image: &Path, copy: &Path) {
    let written = || std::fs::metadata(image).unwrap().modified().unwrap();
    for _ in 0..20 {
        let before = written();
        std::fs::copy(image, copy).unwrap();
        if written() == before {
            return;
        }
    }
    panic!("the image never stood still");
}

/// The image of the device is copied while the writer stands still: what was not flushed to the device is not in the copy, as after a
/// power cut. Needs the right to mount; says so where it has none, and fails if `POWER_CUT_REQUIRED` is set.
#[tokio::test]
async fn acknowledged_writes_survive_a_power_cut() {
    let folder = tempfile::tempdir().unwrap();
    let (image, copy) = (folder.path().join("image"), folder.path().join("copy"));
    std::fs::File::create(&image).unwrap().set_len(128 << 20).unwrap();
    let made = Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image).stderr(Stdio::null()).status().is_ok_and(|status| status.success());
    let disk = if made { Disk::mount(&image, folder.path().join("disk")) } else { None };
    let Some(disk) = disk else {
        assert!(std::env::var_os("POWER_CUT_REQUIRED").is_none(), "mkfs.ext4 or mount did not work");
        writeln!(std::io::stderr(), "skipped: no mkfs.ext4, or no right to mount an image").unwrap();
        return;
    };
    let davroot = disk.mounted.join("davroot");
    std::fs::create_dir(&davroot).unwrap();
    let mut writing = Writing::start(&davroot);
    writing.hear(300);
    writing.stop();
    copy_at_rest(&image, &copy);
    writing.kill();
    // It may be well ahead of what was heard; all of this it said before it stood still.
    writing.hear(usize::MAX);
    assert!(writing.heard >= 300, "the child stopped by itself");
    drop(disk);
    let disk = Disk::mount(&copy, folder.path().join("again")).unwrap();
    let davroot = disk.mounted.join("davroot");
    {
        let store = Store::open(&davroot.join(".causeway/store"), Options::default()).unwrap();
        assert_eq!(store.recovery(), None);
        let (_spaces, space) = begin(store, &davroot, &Clock::System, None);
        writing.check(&space).await;
    }
    drop(disk);
}
