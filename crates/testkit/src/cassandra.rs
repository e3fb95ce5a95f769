//! A real Cassandra as a child process: it stands in for ScyllaDB.

use std::fs::File;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Child;

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use crate::folder::Folder;
use crate::process::{cache, free_port, until_the_pipe_closes};
use crate::wait::{eventually, eventually_within};

/// How long a start may take: ten seconds on a quiet machine.
const START_MAX: std::time::Duration = std::time::Duration::from_secs(180);
/// Packages of the JDK that Cassandra reaches into.
const EXPORTS: [&str; 8] = [
    "java.base/jdk.internal.misc",
    "java.base/java.lang.ref",
    "java.sql/java.sql",
    "java.management.rmi/com.sun.jmx.remote.internal.rmi",
    "java.rmi/sun.rmi.registry",
    "java.rmi/sun.rmi.server",
    "jdk.unsupported/sun.misc",
    "jdk.attach/sun.tools.attach",
];
const OPENS: [&str; 14] = [
    "jdk.management/com.sun.management.internal",
    "java.base/java.lang.module",
    "java.base/jdk.internal.loader",
    "java.base/jdk.internal.ref",
    "java.base/jdk.internal.reflect",
    "java.base/jdk.internal.math",
    "java.base/jdk.internal.module",
    "java.base/jdk.internal.util.jar",
    "java.base/sun.nio.ch",
    "java.base/java.io",
    "java.base/java.lang.reflect",
    "java.base/java.lang",
    "java.base/java.util",
    "java.base/java.nio",
];
const FLAGS: [&str; 14] = [
    "-Xms256M",
    "-Xmx256M",
    "-Xss512k",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:-UsePerfData",
    "-XX:+ExitOnOutOfMemoryError",
    "-XX:MaxDirectMemorySize=256m",
    "-Djdk.attach.allowAttachSelf=true",
    "-Dio.netty.tryReflectionSetAccessible=true",
    "-Dcassandra-foreground=yes",
    "-Dcassandra.ring_delay_ms=0",
    "-Dcassandra.skip_wait_for_gossip_to_settle=0",
    "-Dcassandra.superuser_setup_delay_ms=0",
];
const LOGBACK: &str = r#"<configuration>
  <appender name="out" class="ch.qos.logback.core.ConsoleAppender"><encoder><pattern>%d %-5level %msg%n%ex{2}</pattern></encoder></appender>
  <root level="INFO"><appender-ref ref="out"/></root>
</configuration>
"#;

/// One node of Cassandra with a folder of its own. It syncs its commit log before it answers a write, and is ended on drop, or
/// when this process ends.
pub struct Cassandra {
    folder: Folder,
    port: u16,
    watched: Child,
}

impl Cassandra {
    /// Starts one, and waits until it listens.
    ///
    /// # Errors
    /// When there is no Cassandra or no Java, or it does not start.
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_in(Folder::temporary()?, "").await
    }

    /// Starts one in a folder that has what its configuration names, with more lines of it; `FOLDER` in them is its folder.
    ///
    /// # Errors
    /// As of [`Cassandra::start`].
    pub async fn start_in(folder: Folder, more: &str) -> anyhow::Result<Self> {
        let (port, storage) = (free_port()?, free_port()?);
        let at = folder.path().display();
        let more = more.replace("FOLDER", &at.to_string());
        let yaml = format!(
            "cluster_name: hubbub\nnum_tokens: 1\npartitioner: org.apache.cassandra.dht.Murmur3Partitioner\n\
             auto_bootstrap: false\nendpoint_snitch: SimpleSnitch\n\
             seed_provider: [{{class_name: org.apache.cassandra.locator.SimpleSeedProvider, parameters: [{{seeds: \"127.0.0.1:{storage}\"}}]}}]\n\
             listen_address: 127.0.0.1\nrpc_address: 127.0.0.1\nstorage_port: {storage}\nnative_transport_port: {port}\n\
             start_native_transport: true\ncommitlog_sync: batch\ncommitlog_segment_size: 16MiB\ncommitlog_total_space: 128MiB\n\
             data_file_directories: [{at}/data]\ncommitlog_directory: {at}/commitlog\nhints_directory: {at}/hints\n\
             saved_caches_directory: {at}/saved_caches\ncdc_raw_directory: {at}/cdc_raw\n\
             memtable_heap_space: 128MiB\nmemtable_offheap_space: 64MiB\nkey_cache_size: 8MiB\nfile_cache_size: 32MiB\n\
             networking_cache_size: 32MiB\nconcurrent_reads: 8\nconcurrent_writes: 8\nconcurrent_compactors: 1\n\
             disk_access_mode: standard\nauto_snapshot: false\n{more}\n"
        );
        std::fs::write(folder.path().join("cassandra.yaml"), yaml)?;
        std::fs::write(folder.path().join("logback.xml"), LOGBACK)?;
        let watched = spawn(folder.path())?;
        let mut cassandra = Self { folder, port, watched };
        cassandra.listens().await?;
        Ok(cassandra)
    }

    /// Where clients find it.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Where its files are.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The process.
    ///
    /// # Errors
    /// When it was not started yet.
    pub fn pid(&self) -> anyhow::Result<u32> {
        Ok(std::fs::read_to_string(self.folder.path().join("pid"))?.trim().parse()?)
    }

    /// Ends it in order.
    ///
    /// # Errors
    /// When it has ended before, or does not.
    pub async fn end(&mut self) -> anyhow::Result<()> {
        let pid = Pid::from_raw(self.pid()?.try_into()?).context("no process")?;
        kill_process(pid, Signal::TERM)?;
        eventually("Cassandra ends", async || test_kill_process(pid).is_err().then_some(())).await;
        self.kill()
    }

    /// Ends it with no time to write anything.
    ///
    /// # Errors
    /// When it can't be ended.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        drop(self.watched.stdin.take());
        self.watched.wait()?;
        Ok(())
    }

    /// Starts it again on its port, with its data.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start_again(&mut self) -> anyhow::Result<()> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        // One that was killed may take a moment to be gone, and would be taken for the new one.
        eventually("the port is free", async || TcpStream::connect(address).is_err().then_some(())).await;
        self.watched = spawn(self.folder.path())?;
        self.listens().await
    }

    async fn listens(&mut self) -> anyhow::Result<()> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let log = self.folder.path().join("log");
        let running = |pid: u32| Path::new(&format!("/proc/{pid}")).exists();
        eventually_within(START_MAX, "Cassandra listens", async || {
            if TcpStream::connect(address).is_ok() {
                return Some(Ok(()));
            }
            let ended = self.pid().is_ok_and(|pid| !running(pid));
            ended.then(|| {
                let log = std::fs::read_to_string(&log).unwrap_or_default();
                Err(anyhow::anyhow!("Cassandra ended at its start: {log}"))
            })
        })
        .await
    }
}

impl Drop for Cassandra {
    fn drop(&mut self) {
        // One that is gone already can't be ended, and that is all right.
        let _ = self.kill();
    }
}

fn spawn(folder: &Path) -> anyhow::Result<Child> {
    let mut jars: Vec<_> =
        std::fs::read_dir(jars()?)?.map(|jar| Ok(jar?.path())).collect::<anyhow::Result<_>>()?;
    jars.sort();
    let class_path = std::env::join_paths(jars)?;
    let at = folder.display();
    let mut log = File::options().create(true).append(true).open(folder.join("log"))?;
    writeln!(log, "--- a start ---")?;
    let mut command = until_the_pipe_closes(Path::new("java"), &folder.join("pid"))?;
    for package in EXPORTS {
        command.args(["--add-exports", &format!("{package}=ALL-UNNAMED")]);
    }
    for package in OPENS {
        command.args(["--add-opens", &format!("{package}=ALL-UNNAMED")]);
    }
    command
        .args(FLAGS)
        .arg(format!("-Dcassandra.config=file://{at}/cassandra.yaml"))
        .arg(format!("-Dlogback.configurationFile=file:{at}/logback.xml"))
        .arg(format!("-Dcassandra.storagedir={at}"))
        .arg("-cp")
        .arg(class_path)
        .arg("org.apache.cassandra.service.CassandraDaemon")
        .stdout(log.try_clone()?)
        .stderr(log);
    command.spawn().context("sh can't be run")
}

fn jars() -> anyhow::Result<PathBuf> {
    let jars = cache()?.join("cassandra/lib");
    if !jars.exists() {
        bail!("there is no Cassandra at {}; deploy/local/install-cassandra installs it", jars.display());
    }
    Ok(jars)
}
