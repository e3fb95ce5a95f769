//! An operator at any gateway sees all of the cluster, and is obeyed in all of it.

use std::time::{SystemTime, UNIX_EPOCH};

use hubbub_core::ids::UserId;
use hubbub_testkit::{Hubbub, Operator, Person, Plan, Said, end_of, eventually};
use serde_json::{Value, json};

use crate::world::{Quiet, connect, plan};

/// What another service signs its tokens with.
const JWT_SECRET: &str = "a secret of another service, of 32 bytes and more";

fn is_done(said: &Said, words: &str) {
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{said:?}");
    assert!(said.out.contains(words), "{said:?}");
}

/// The nodes of a role, as an operator sees them.
fn of_role(nodes: &Value, role: &str) -> Vec<Value> {
    let all = nodes["nodes"].as_array().unwrap();
    all.iter().filter(|node| node["role"] == role).cloned().collect()
}

/// Which partitions nodes hold, ascending.
fn held(nodes: &[Value]) -> Vec<u64> {
    let partitions = nodes.iter().flat_map(|node| node["partitions"].as_array().unwrap());
    let mut all: Vec<_> = partitions.map(|partition| partition.as_u64().unwrap()).collect();
    all.sort_unstable();
    all
}

/// The process that has this id.
fn process<'a>(tier: &'a mut [Hubbub], id: &str) -> &'a mut Hubbub {
    tier.iter_mut().find(|process| process.log().contains(&format!("node={id}"))).expect(id)
}

async fn asked(gateway: &Hubbub, person: &Person) -> u16 {
    gateway.get("/v1/chat/rooms", Some(&person.token)).await.unwrap().status
}

/// Waits until this gateway sees all of it at work: so many of each tier, and every partition held.
async fn sees_all(operator: &Operator, tiers: [(&str, usize); 3]) -> Value {
    eventually("the operator sees the whole cluster", async || {
        let nodes = operator.json(&["nodes"]).await;
        let is_ready = |node: &Value| node["condition"] == "ready" && node["silent"] == false;
        let all_there = tiers.iter().all(|(role, count)| {
            let of_role = of_role(&nodes, role);
            of_role.len() == *count && of_role.iter().all(is_ready)
        });
        let all_held = held(&of_role(&nodes, "room-worker")) == (0..32).collect::<Vec<u64>>();
        (all_there && all_held).then_some(nodes)
    })
    .await
}

#[tokio::test]
async fn any_gateway_shows_all_of_the_cluster_and_drains_what_is_named() {
    let credential = Operator::new_credential("night-shift");
    let (mut quiet, operator) = Quiet::with_operator(plan().await, &credential, 1).await;
    let cluster = &mut quiet.cluster;
    let nodes = sees_all(&operator, [("gateway", 2), ("room-worker", 2), ("history-service", 2)]).await;
    assert_eq!((&nodes["partitions"], &nodes["free_partitions"]), (&32.into(), &json!([])));

    // A room at one gateway is shown by the other one.
    let ann = Person::register(&cluster.gateways[0], "ann").await.unwrap();
    let (anns, _events) = connect(&cluster.gateways[0], &ann).await;
    let room = anns.create("tea", "").await.unwrap().id;
    let shown = operator.json(&["room", room.as_str()]).await;
    let holder = shown["holder"]["node"].as_str().unwrap().to_owned();
    let workers = of_role(&nodes, "room-worker");
    let of_holder = workers.iter().find(|worker| worker["node"] == holder.as_str()).expect("a worker");
    assert!(held(std::slice::from_ref(of_holder)).contains(&shown["partition"].as_u64().unwrap()));
    assert_eq!((&shown["held"]["head"], &shown["held"]["members"]), (&1.into(), &1.into()), "{shown}");
    let connections = operator.json(&["connections", "--user", ann.id.as_str()]).await;
    let at = connections["connections"][0]["node"].as_str().expect("ann is there").to_owned();
    assert!(process(&mut cluster.gateways, &at).address() == cluster.gateways[0].address());

    // The holder is told to drain: it ends in order, and the other one holds the room.
    is_done(&operator.run(&["drain", &holder]).await, &format!("room-worker {holder}"));
    let exit = process(&mut cluster.workers, &holder).ended().await.unwrap();
    assert!(exit.success(), "{exit}");
    let nodes = sees_all(&operator, [("gateway", 2), ("room-worker", 1), ("history-service", 2)]).await;
    let other = of_role(&nodes, "room-worker")[0]["node"].as_str().unwrap().to_owned();
    anns.send_text(&room, "still here", None).await.unwrap();
    let shown = operator.json(&["room", room.as_str()]).await;
    assert_eq!((&shown["holder"]["node"], &shown["held"]["head"]), (&other.as_str().into(), &2.into()));
    let said = operator.run(&["drain", &other]).await;
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.err.contains("this is the only room-worker"), "{said:?}");

    // One that is killed says nothing: it is shown as silent, and as the holder of what nobody else can take.
    process(&mut cluster.workers, &other).kill().await.unwrap();
    let said = eventually("the killed worker is silent", async || {
        let said = operator.run(&["nodes"]).await;
        said.out.contains("SILENT").then_some(said)
    })
    .await;
    let row = said.out.lines().find(|line| line.contains(&other)).unwrap();
    assert!(row.contains("SILENT") && row.contains("0-31"), "{row}");
    let said = operator.run(&["room", room.as_str()]).await;
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(
        said.out.contains(&other) && said.out.contains("SILENT") && said.out.contains("TROUBLE"),
        "{said:?}"
    );

    // Its successor has its address, and is the one that is meant by that.
    let worker = process(&mut cluster.workers, &other);
    worker.restart().await.unwrap();
    let address = worker.address().to_string();
    eventually("the one that lives is named by its address", async || {
        let said = operator.run(&["drain", &address]).await;
        assert!(!said.err.contains("more than one process"), "{said:?}");
        said.err.contains("this is the only room-worker").then_some(())
    })
    .await;
}

#[tokio::test]
async fn kicks_bans_and_revocations_of_one_gateway_hold_at_all() {
    let credential = Operator::new_credential("night-shift");
    let mut plan = Plan { workers: 1, histories: 1, ..plan().await };
    // Accounts of another service: a ban is by the user's id, whoever checks it.
    plan.gateway_flags.push(format!("--jwt-secret={JWT_SECRET}"));
    let (mut quiet, operator) = Quiet::with_operator(plan, &credential, 0).await;
    let [here, there] = &mut quiet.cluster.gateways[..] else { panic!("two gateways") };
    let (ann, bob, cyd) =
        (from_elsewhere(there, "ann"), from_elsewhere(there, "bob"), from_elsewhere(there, "cyd"));
    let (anns, _ann_hears) = connect(there, &ann).await;
    let room = anns.create("tea", "").await.unwrap().id;
    let (bobs, mut bob_hears) = connect(there, &bob).await;
    bobs.join(&room).await.unwrap();

    is_done(&operator.run(&["kick", room.as_str(), "bob"]).await, "by its entry 3");
    assert!(bobs.send_text(&room, "still here?", None).await.is_err());
    assert_eq!(operator.json(&["room", room.as_str()]).await["held"]["members"], 1);

    let (_cyds, mut cyd_hears) = connect(there, &cyd).await;
    is_done(&operator.run_with(&["revoke"], &cyd.token).await, "a token of cyd");
    assert_eq!(end_of(&mut cyd_hears).await, ("revoked".to_owned(), Some(4401)));
    assert_eq!((asked(here, &cyd).await, asked(there, &cyd).await), (401, 401));

    is_done(&operator.run(&["ban", "bob"]).await, "is banned");
    assert_eq!(end_of(&mut bob_hears).await, ("banned".to_owned(), Some(4401)));
    assert_eq!((asked(here, &bob).await, asked(there, &bob).await), (403, 403));
    there.kill().await.unwrap();
    there.restart().await.unwrap();
    assert_eq!(asked(there, &bob).await, 403, "it is there from the first moment");
    is_done(&operator.run(&["unban", "bob"]).await, "is not banned");
    eventually("bob is let in at both", async || {
        (asked(here, &bob).await == 200 && asked(there, &bob).await == 200).then_some(())
    })
    .await;
    let log = here.log();
    let is_audited = |action: &str, on: &str| {
        log.lines().any(|line| line.contains(&format!("action=\"{action}\" on=\"{on}\" result=\"ok\"")))
    };
    assert!(is_audited("ban", "/bans/bob") && is_audited("revoke", "cyd"), "{log}");
    assert!(!log.contains(&cyd.token) && !log.contains(credential.split('.').nth(1).unwrap()));
}

/// Someone with an account at the service whose secret the gateways have.
fn from_elsewhere(gateway: &Hubbub, name: &str) -> Person {
    let end = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + 600;
    let claims = json!({"sub": name, "name": name, "roles": ["user"], "exp": end});
    let key = jsonwebtoken::EncodingKey::from_secret(JWT_SECRET.as_bytes());
    let token = jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap();
    Person::from_elsewhere(gateway, UserId::parse(name).unwrap(), name, token)
}
