//! Official clients as child processes, and what a test does by hand: packets on a WebSocket, bodies over HTTP.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::LazyLock;

use hubbub_client::raw::{Frame, Raw};
use hubbub_testkit::{Hubbub, fits, in_time};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

pub const NAMESPACE: &str = "/v1/channel";
/// Events that clients' libraries make.
const OF_THE_LIBRARY: [&str; 4] = ["connect", "connect_error", "disconnect", "error"];

/// Which client, and by which transports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    pub library: Library,
    pub transports: &'static [&'static str],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Library {
    /// `socket.io-client` 2.x, Engine.IO 3.
    Js2,
    /// `socket.io-client` 4.x, Engine.IO 4.
    Js4,
    /// `python-socketio`, Engine.IO 4.
    Python,
}

const TRANSPORTS: [&[&str]; 3] = [&["polling"], &["polling", "websocket"], &["websocket"]];

impl Kind {
    /// Every library by every way.
    pub fn all() -> Vec<Self> {
        let libraries = [Library::Js2, Library::Js4, Library::Python];
        let each = |library| TRANSPORTS.map(|transports| Self { library, transports });
        libraries.into_iter().flat_map(each).collect()
    }

    /// The transport that it ends up with.
    pub fn settles_on(self) -> &'static str {
        self.transports[self.transports.len() - 1]
    }
}

/// Where a token is put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carried {
    /// In the query, as the seed's clients do.
    Query,
    /// In `auth`, as newer clients may.
    Auth,
}

/// An official client, killed on drop.
pub struct Client {
    child: Child,
    told: ChildStdin,
    says: mpsc::UnboundedReceiver<String>,
    put_aside: VecDeque<Value>,
    calls: u64,
}

impl Client {
    /// Starts it; it connects by itself.
    pub fn start(server: &Hubbub, kind: Kind, token: &str, carried: Carried) -> Self {
        let libraries = libraries();
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/socketio/clients");
        let mut options =
            json!({"transports": kind.transports, "reconnectionDelay": 50, "reconnectionDelayMax": 200});
        match carried {
            Carried::Query => options["query"] = json!({"token": token}),
            Carried::Auth => options["auth"] = json!({"token": token}),
        }
        let mut command = match kind.library {
            Library::Python => Command::new(libraries.join("venv/bin/python")),
            Library::Js2 | Library::Js4 => Command::new("node"),
        };
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap());
        command.env("NODE_PATH", libraries.join("node_modules"));
        command.env("SOCKETIO_GENERATION", if kind.library == Library::Js2 { "2" } else { "4" });
        command.env("SOCKETIO_URL", format!("http://{}{NAMESPACE}", server.address()));
        command.env("SOCKETIO_OPTIONS", options.to_string());
        command.arg(scripts.join(match kind.library {
            Library::Python => "python/client.py",
            Library::Js2 | Library::Js4 => "node/client.js",
        }));
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let told = child.stdin.take().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (say, says) = mpsc::unbounded_channel();
        std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| say.send(line)));
        Self { child, told, says, put_aside: VecDeque::new(), calls: 0 }
    }

    /// Starts it, and waits until it knows who it is.
    pub async fn enter(server: &Hubbub, kind: Kind, token: &str) -> Self {
        let mut client = Self::start(server, kind, token, Carried::Query);
        client.event("authentication").await;
        client
    }

    fn tell(&mut self, what: &Value) {
        self.told.write_all(format!("{what}\n").as_bytes()).unwrap();
    }

    /// Emits an event, and waits for the callback.
    pub async fn call(&mut self, event: &str, fields: Value) -> Value {
        self.call_with(json!({"event": event, "args": [fields]})).await
    }

    /// The same with bytes in it.
    pub async fn call_binary(&mut self, event: &str, fields: Value) -> Value {
        self.call_with(json!({"event": event, "args": [fields], "binary": true})).await
    }

    async fn call_with(&mut self, mut what: Value) -> Value {
        self.calls += 1;
        what["call"] = self.calls.into();
        self.tell(&what);
        let number = self.calls;
        let mut answer = self.find(&format!("the callback of {what}"), |said| said["called"] == number).await;
        assert_eq!(answer["args"].as_array().unwrap().len(), 1, "{answer}");
        answer["args"][0].take()
    }

    /// Closes it in order.
    pub fn close(&mut self) {
        self.tell(&json!({"close": true}));
    }

    /// What it says next that is like this; the rest is put aside, in its order.
    pub async fn find(&mut self, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        if let Some(at) = self.put_aside.iter().position(&is_it) {
            return self.put_aside.remove(at).unwrap();
        }
        loop {
            let line = in_time(what, self.says.recv()).await;
            let said =
                serde_json::from_str(&line.unwrap_or_else(|| panic!("{what}: the client ended"))).unwrap();
            assert_is_described(&said);
            if is_it(&said) {
                return said;
            }
            self.put_aside.push_back(said);
        }
    }

    /// What the next event of this name carries.
    pub async fn event(&mut self, name: &str) -> Value {
        self.event_like(name, |_| true).await
    }

    /// What the next event of this name carries that is like this.
    pub async fn event_like(&mut self, name: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        let found = self.find(name, |said| said["event"] == name && is_it(&said["args"][0])).await;
        found["args"][0].clone()
    }

    /// Everything that it said so far and nobody looked at.
    pub fn so_far(&mut self) -> Vec<Value> {
        self.put_aside.drain(..).collect()
    }
}

/// Whether an event or a callback is one that the server's description has; what the client's library says itself is none.
fn assert_is_described(said: &Value) {
    static DESCRIPTION: LazyLock<Value> = LazyLock::new(|| {
        serde_json::from_str(include_str!("../../../../gateway/src/http/asyncapi-socketio.json")).unwrap()
    });
    let name = match (&said["called"], &said["event"]) {
        (Value::Null, Value::String(event)) if !OF_THE_LIBRARY.contains(&event.as_str()) => event.as_str(),
        (Value::Number(_), _) => "callback",
        _ => return,
    };
    let messages = DESCRIPTION["components"]["messages"].as_object().unwrap().iter();
    let of_this_name = messages.filter(|(key, one)| one["name"] == *name && !key.ends_with("Request"));
    let looks = of_this_name.map(|(_, message)| fits(&DESCRIPTION, &message["payload"], &said["args"][0]));
    let looks: Vec<_> = looks.collect();
    assert!(looks.iter().any(Result::is_ok), "{said} is not described: {looks:?}");
}

impl Drop for Client {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- not looked at: {:?}", self.put_aside);
        }
    }
}

fn libraries() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.unwrap_or_else(|| Path::new(&std::env::var_os("HOME").unwrap()).join(".cache"));
    let libraries = cache.join("hubbub/socketio-clients");
    let there = libraries.join("version").exists();
    assert!(there, "nothing at {}; deploy/local/install-socketio-clients installs it", libraries.display());
    libraries
}

/// An answer over HTTP.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }
}

/// Asks `/socket.io/` with this query for one thing, on a connection of its own.
pub async fn http(
    server: &Hubbub,
    method: &str,
    query: &str,
    headers: &str,
    body: impl AsRef<[u8]>,
) -> Answer {
    let mut stream = ask(server.address(), method, query, headers, body).await;
    let mut answer = Vec::new();
    in_time("an answer", stream.read_to_end(&mut answer)).await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.unwrap_or_else(|| panic!("{method} {query}: {answer:?}"));
    Answer { status, head: head.to_ascii_lowercase(), body: body.into() }
}

/// Asks, and does not wait for the answer.
pub async fn ask(
    at: SocketAddr,
    method: &str,
    query: &str,
    headers: &str,
    body: impl AsRef<[u8]>,
) -> TcpStream {
    let body = body.as_ref();
    let head = format!(
        "{method} /socket.io/?{query} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n",
        body.len()
    );
    let mut stream = TcpStream::connect(at).await.unwrap();
    stream.write_all(&[head.as_bytes(), body].concat()).await.unwrap();
    stream
}

/// Begins a session that polls, of generation 4; the query of its next requests.
pub async fn session(server: &Hubbub) -> String {
    let opened = http(server, "GET", "EIO=4&transport=polling", "", "").await;
    assert_eq!(opened.status, 200, "{opened:?}");
    let handshake: Value = serde_json::from_str(opened.body.strip_prefix('0').unwrap()).unwrap();
    assert_eq!(handshake["upgrades"], json!(["websocket"]), "{handshake}");
    format!("EIO=4&transport=polling&sid={}", handshake["sid"].as_str().unwrap())
}

/// A WebSocket by hand, in the namespace.
pub async fn socket(server: &Hubbub, generation: u8, token: &str) -> Raw {
    let query = format!("EIO={generation}&transport=websocket&token={token}");
    let mut raw = websocket(server, &query).await;
    packet(&mut raw, "0{").await;
    raw.send_text(format!("40{NAMESPACE},")).await.unwrap();
    packet(&mut raw, &format!("42{NAMESPACE},[\"authentication\"")).await;
    raw
}

/// A WebSocket by hand.
pub async fn websocket(server: &Hubbub, query: &str) -> Raw {
    Raw::connect(&format!("ws://{}/socket.io/?{query}", server.address()), None).await.unwrap()
}

/// The next packet that begins so; others before it are dropped.
pub async fn packet(raw: &mut Raw, begins: &str) -> String {
    loop {
        match in_time(begins, raw.next()).await {
            Frame::Text(text) if text.starts_with(begins) => return text,
            Frame::Closed { code, reason } => panic!("closed before {begins:?}: {code:?} {reason}"),
            _ => {}
        }
    }
}

/// The code of the close that comes next; packets before it are dropped.
pub async fn closed(raw: &mut Raw) -> Option<u16> {
    loop {
        if let Frame::Closed { code, .. } = in_time("a close", raw.next()).await {
            return code;
        }
    }
}
