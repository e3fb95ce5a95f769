//! A real Cassandra as a child process: it stands in for ScyllaDB.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::bail;
use tokio::net::TcpStream;
use tokio::sync::OnceCell;

use crate::folder::Folder;
use crate::process::{cache, free_port};
use crate::server::Server;

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

/// One that many share has room for the tables of all of them. It is not killed and started again, and nobody reads its files a
/// second time: so a change of its schema need not wait until it is in one.
const SHARED_FLAGS: [&str; 2] = ["-Xmx1G", "-Dcassandra.test.flush_local_schema_changes=false"];

/// The one that is shared, and how many keyspaces of it were given out.
static SHARED: OnceCell<Cassandra> = OnceCell::const_new();
static KEYSPACES: AtomicU32 = AtomicU32::new(0);

/// Where in which database somebody's tables are.
#[derive(Debug, Clone)]
pub struct Keyspace {
    /// Where the database is.
    pub database: String,
    /// The keyspace.
    pub name: String,
}

impl Keyspace {
    /// One that nobody else has, of a database that all tests of this process share: started by the first of them, never dropped,
    /// and ended with this process. For tests that don't break it.
    ///
    /// # Errors
    /// As of [`Cassandra::start`].
    pub async fn shared() -> anyhow::Result<Self> {
        let start = async || {
            // What is never dropped removes nothing: its folder ends with its process.
            let folder = Folder::Kept(tempfile::tempdir()?.keep());
            Cassandra::start_as(folder, "", true).await
        };
        let database = SHARED.get_or_try_init(start).await?.address();
        Ok(Self { database, name: format!("test_{}", KEYSPACES.fetch_add(1, Ordering::Relaxed)) })
    }

    /// The flags that name it.
    pub fn flags(&self) -> [String; 3] {
        [
            format!("--cql={}", self.database),
            format!("--cql-keyspace={}", self.name),
            "--cql-replication=1".into(),
        ]
    }
}

/// One node of Cassandra with a folder of its own. It syncs its commit log before it answers a write, and is ended on drop, or
/// when this process ends.
pub struct Cassandra(Server);

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
        Self::start_as(folder, more, false).await
    }

    async fn start_as(folder: Folder, more: &str, is_shared: bool) -> anyhow::Result<Self> {
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
        let command = command(folder.path(), is_shared)?;
        Ok(Self(Server::start("Cassandra", folder, port, command, listens).await?))
    }

    /// Where clients find it.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.0.port())
    }

    /// Where its files are.
    pub fn folder(&self) -> &Path {
        self.0.folder()
    }

    /// The process.
    ///
    /// # Errors
    /// When it was not started yet.
    pub fn pid(&self) -> anyhow::Result<u32> {
        self.0.pid()
    }

    /// Ends it in order.
    ///
    /// # Errors
    /// When it has ended before, or does not.
    pub async fn end(&mut self) -> anyhow::Result<()> {
        self.0.end().await
    }

    /// Ends it with no time to write anything.
    ///
    /// # Errors
    /// When it can't be ended.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.0.kill()
    }

    /// Starts it again on its port, with its data.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start_again(&mut self) -> anyhow::Result<()> {
        let command = command(self.folder(), false)?;
        self.0.start_again(command, listens).await
    }
}

async fn listens(address: SocketAddr) -> bool {
    TcpStream::connect(address).await.is_ok()
}

fn command(folder: &Path, is_shared: bool) -> anyhow::Result<Command> {
    let mut jars: Vec<_> =
        std::fs::read_dir(jars()?)?.map(|jar| Ok(jar?.path())).collect::<anyhow::Result<_>>()?;
    jars.sort();
    let class_path = std::env::join_paths(jars)?;
    let at = folder.display();
    let mut command = Server::command(Path::new("java"), folder, is_shared)?;
    for package in EXPORTS {
        command.args(["--add-exports", &format!("{package}=ALL-UNNAMED")]);
    }
    for package in OPENS {
        command.args(["--add-opens", &format!("{package}=ALL-UNNAMED")]);
    }
    command
        .args(FLAGS)
        .args(SHARED_FLAGS.iter().filter(|_| is_shared))
        .arg(format!("-Dcassandra.config=file://{at}/cassandra.yaml"))
        .arg(format!("-Dlogback.configurationFile=file:{at}/logback.xml"))
        .arg(format!("-Dcassandra.storagedir={at}"))
        // What it unpacks goes with its folder.
        .arg(format!("-Djava.io.tmpdir={at}"))
        .arg("-cp")
        .arg(class_path)
        .arg("org.apache.cassandra.service.CassandraDaemon");
    Ok(command)
}

fn jars() -> anyhow::Result<PathBuf> {
    let jars = cache()?.join("cassandra/lib");
    if !jars.exists() {
        bail!("there is no Cassandra at {}; deploy/local/install-cassandra installs it", jars.display());
    }
    Ok(jars)
}
