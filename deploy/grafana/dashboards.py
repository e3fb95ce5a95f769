#!/usr/bin/env python3
"""The dashboards, from which the JSON beside this file is made: `dashboards.py` writes it anew.

`dashboards.py --queries` prints every query as a rule of Prometheus instead, and fails where the JSON is not what this file makes.
"""

import json
import pathlib
import sys

HERE = pathlib.Path(__file__).parent
# Of the processes that were chosen above.
OF = 'job=~"$job",instance=~"$instance"'


def rate(metric, by=""):
    inner = f"rate({metric}{{{OF}}}[$__rate_interval])"
    if not by:
        return f"sum({inner})"
    if by == "instance":
        return f"sum by (instance) ({inner})"
    # What never happened has no labels yet: then a line at 0, where there are processes, and not "No data".
    return f'sum by ({by}) ({inner}) or on () label_replace(0 * sum(hubbub_build_info{{{OF}}}), "{by}", "none", "", "")'


def gauge(metric, by=""):
    return f"sum by ({by}) ({metric}{{{OF}}})" if by else f"sum({metric}{{{OF}}})"


def longest(metric, labels=""):
    """The upper bound of its bucket. One append that hangs keeps a hundred messages waiting, so a quantile of appends says nothing of those."""
    of = f"{OF},{labels}" if labels else OF
    return f"histogram_quantile(1, sum by (le) (rate({metric}_bucket{{{of}}}[$__rate_interval])))"


def quantiles(metric, by=""):
    """The middle, one in a hundred, one in a thousand; of several of a kind one in a hundred alone, and of those that had any."""
    of = lambda q: f"histogram_quantile({q}, sum by (le{', ' + by if by else ''}) (rate({metric}_bucket{{{OF}}}[$__rate_interval])))"
    return [(of(0.99) + " >= 0", f"{{{{{by}}}}}")] if by else [(of(0.5), "p50"), (of(0.99), "p99"), (of(0.999), "p99.9")]


def panel(title, *queries, unit="short", note=""):
    return {"title": title, "queries": queries, "unit": unit, "note": note}


PROCESS = [
    panel("CPU of a process", (rate("process_cpu_seconds_total", "instance"), "{{instance}}"), unit="percentunit",
          note="1 is a core. A room-worker has one thread, a gateway one more for each of --instances above one."),
    panel("Memory of a process", (gauge("process_resident_memory_bytes", "instance"), "{{instance}}"), unit="bytes"),
    panel("Open files", (gauge("process_open_fds", "instance"), "{{instance}}"), note="A connection is one: below `process_max_fds`."),
]
DATABASE = [
    panel("Database: p99", *quantiles("hubbub_cql_seconds", "op"), unit="s"),
    panel("Database: what it did not do", (rate("hubbub_cql_errors_total", "op"), "{{op}}"), unit="ops"),
    panel("NATS", (rate("hubbub_nats_disconnects_total"), "connections lost"), (rate("hubbub_nats_dropped_total"), "messages dropped"), unit="ops"),
]
SLOW = panel("Slow consumers", (rate("hubbub_gateway_behind_total", "instance"), "told behind, a second: {{instance}}"),
             (f'sum by (instance) (rate(hubbub_gateway_closed_total{{{OF},reason="slow_consumer"}}[$__rate_interval]))', "closed for it, a second: {{instance}}"),
             (gauge("hubbub_gateway_slow_connections", "instance"), "for whom bytes wait: {{instance}}"),
             note="Who they are: hubbub admin slow.")
LAG = panel("From an entry's time to its last write", *quantiles("hubbub_gateway_delivery_lag_seconds"), unit="s")
ACKS = panel("From a send to its ok", *quantiles("hubbub_gateway_ack_seconds"), unit="s")
WAIT = panel("The longest wait for an ok, and where it was", (longest("hubbub_gateway_ack_seconds"), "all of it"),
             (longest("hubbub_worker_commit_seconds"), "worker: append to fence read"),
             (longest("hubbub_cql_seconds", 'op="append"'), "database: append"), (longest("hubbub_cql_seconds", 'op="fence"'), "database: fence"),
             (longest("hubbub_store_commit_seconds"), "embedded store: a commit"),
             (f"max(hubbub_gateway_loop_lag_seconds{{{OF}}})", "a gateway's event loop is late"), unit="s",
             note="The lowest part that is as long as all of it is the cause. If none is: the busy share of the write loops, then NATS.")
FAILED = panel("Requests that failed", (rate("hubbub_gateway_failed_requests_total", "code"), "{{code}}"), unit="reqps",
               note="`unavailable` and `internal` are ours; the others are what clients asked for and can't have.")
PARTITIONS = panel("Partitions served", (gauge("hubbub_worker_partitions_held", "instance"), "{{instance}}"),
                   (f"max(hubbub_worker_partitions{{{OF}}}) - sum(hubbub_worker_partitions_held{{{OF}}})", "by nobody"),
                   note="By nobody: senders there are told `unavailable`.")

# By name: its title, what every process that it is about has from its start, its panels.
DASHBOARDS = {
    "overview": ("Hubbub", "hubbub_build_info", [
        panel("Connections", (gauge("hubbub_gateway_connections"), "open")),
        panel("Deliveries", (rate("hubbub_gateway_deliveries_total"), "entries written to connections"), unit="ops"),
        ACKS,
        WAIT,
        panel("Messages", (rate("hubbub_gateway_ack_seconds_count"), "acked"), (rate("hubbub_worker_entries_committed_total"), "entries committed"), unit="ops"),
        FAILED,
        panel("Closed and refused", (rate("hubbub_gateway_closed_total", "reason"), "closed: {{reason}}"),
              (rate("hubbub_gateway_refused_total", "reason"), "refused: {{reason}}"), unit="ops"),
        LAG,
        SLOW,
        PARTITIONS,
        *DATABASE[:2],
        *PROCESS[:2],
        panel("Which build", (f"count by (version, commit) (hubbub_build_info{{{OF}}})", "{{version}} {{commit}}"), note="Two for longer than a rolling update are one too many."),
        panel("Must stay 0", (gauge("hubbub_gateway_forks_total"), "two contents for one seq"),
              (gauge("hubbub_store_damaged_total"), "damaged in the embedded store"),
              (f'sum(hubbub_history_reads_total{{{OF},outcome="damaged"}})', "damaged where it was read"),
              (f'sum(hubbub_worker_recoveries_total{{{OF},outcome="damaged"}})', "damaged where a room was opened")),
    ]),
    "gateway": ("Hubbub: gateways", "hubbub_gateway_connections", [
        panel("Connections", (gauge("hubbub_gateway_connections", "instance"), "{{instance}}")),
        panel("Deliveries", (rate("hubbub_gateway_deliveries_total", "instance"), "{{instance}}"), unit="ops"),
        panel("Bytes delivered", (rate("hubbub_gateway_delivered_bytes_total", "instance"), "{{instance}}"), unit="Bps"),
        ACKS,
        panel("Frames from clients, entries from the bus", (rate("hubbub_gateway_frames_in_total"), "frames"), (rate("hubbub_gateway_entries_total"), "entries"), unit="ops"),
        FAILED,
        panel("Closed", (rate("hubbub_gateway_closed_total", "reason"), "{{reason}}"), unit="ops"),
        panel("Refused", (rate("hubbub_gateway_refused_total", "reason"), "{{reason}}"), unit="ops"),
        LAG,
        SLOW,
        panel("Bytes that wait for slow consumers", (gauge("hubbub_gateway_queue_bytes", "instance"), "{{instance}}"), unit="bytes"),
        panel("Asked again, read again", (rate("hubbub_gateway_asked_again_total"), "questions asked again"),
              (rate("hubbub_gateway_syncs_total", "cause"), "rooms read again: {{cause}}"), unit="ops"),
        panel("Rooms with members here", (gauge("hubbub_gateway_rooms", "instance"), "{{instance}}")),
        panel("Other gateways", (gauge("hubbub_gateway_peers", "instance"), "known to {{instance}}"),
              (rate("hubbub_gateway_peer_snapshots_total"), "asked for all, a second"), (rate("hubbub_gateway_peer_unreadable_total"), "unreadable, a second")),
        panel("Accounts of another service", (rate("hubbub_accounts_calls_total", "outcome"), "calls: {{outcome}}"),
              (rate("hubbub_accounts_checks_total", "outcome"), "by key: {{outcome}}"), (gauge("hubbub_accounts_breaker_open"), "gateways that do not ask"), unit="ops"),
        panel("Certificate valid for", (f"min(hubbub_gateway_tls_valid_until_seconds{{{OF}}}) - time()", "shortest"), unit="s"),
        *PROCESS,
    ]),
    "room-worker": ("Hubbub: room-workers", "hubbub_worker_partitions_held", [
        panel("Busy share of the write loops", (rate("hubbub_worker_turn_seconds_sum", "instance"), "{{instance}}"), unit="percentunit", note="Of a worker's one thread."),
        panel("One go of a loop", *quantiles("hubbub_worker_turn_seconds"), unit="s"),
        panel("Entries committed", (rate("hubbub_worker_entries_committed_total", "instance"), "{{instance}}"), unit="ops"),
        panel("From append to fence read", *quantiles("hubbub_worker_commit_seconds"), unit="s"),
        panel("Entries of a batch", (f"{rate('hubbub_worker_batch_entries_sum')} / {rate('hubbub_worker_batch_entries_count')}", "on average")),
        panel("Asks answered", (rate("hubbub_worker_asks_total", "outcome"), "{{outcome}}"), unit="ops"),
        panel("Asks held", (gauge("hubbub_worker_asks_held", "instance"), "{{instance}}")),
        PARTITIONS,
        panel("Partitions that moved", (rate("hubbub_worker_handed_over_total"), "handed over"), (rate("hubbub_worker_fenced_total"), "lost to a newer holder"), unit="ops"),
        panel("Rooms in memory", (gauge("hubbub_worker_rooms_open", "instance"), "{{instance}}")),
        panel("Memory of rooms", (gauge("hubbub_worker_rooms_bytes", "instance"), "{{instance}}"), unit="bytes"),
        panel("First touches of rooms", (rate("hubbub_worker_recoveries_total", "outcome"), "{{outcome}}"), unit="ops"),
        panel("Tried again, not taken", (rate("hubbub_worker_store_retries_total"), "writes tried again"), (rate("hubbub_worker_publish_failures_total"), "events the bus did not take"), unit="ops"),
        *DATABASE,
        panel("Embedded store: a commit", *quantiles("hubbub_store_commit_seconds"), unit="s"),
        panel("Embedded store: what waits", (gauge("hubbub_store_queue_bytes"), "for a commit"), (gauge("hubbub_store_unfolded_bytes"), "in the journal alone"), unit="bytes"),
        panel("Embedded store: what failed", (rate("hubbub_store_commit_errors_total"), "commits"), (rate("hubbub_store_fold_errors_total"), "folds"),
              (rate("hubbub_store_queue_full_total"), "writes refused"), (rate("hubbub_store_reads_refused_total"), "reads refused"), unit="ops"),
        *PROCESS,
    ]),
    "history-service": ("Hubbub: history services", "hubbub_history_reads_in_flight", [
        panel("Reads in flight", (gauge("hubbub_history_reads_in_flight", "instance"), "{{instance}}"), note="64 are done at a time, the others wait in line."),
        panel("Reads", (rate("hubbub_history_reads_total", "outcome"), "{{outcome}}"), unit="ops"),
        panel("Blocks of logs", (rate("hubbub_history_blocks_total", "source"), "{{source}}"), unit="ops"),
        panel("Log kept in memory", (gauge("hubbub_history_cache_bytes", "instance"), "{{instance}}"), unit="bytes"),
        *DATABASE,
        *PROCESS,
    ]),
    "bot-bridge": ("Hubbub: bridges to the bots", "hubbub_bot_commands_waiting", [
        panel("Commands", (rate("hubbub_bot_commands_total", "told"), "{{told}}"), unit="ops"),
        panel("Commands that wait", (gauge("hubbub_bot_commands_waiting", "instance"), "{{instance}}")),
        panel("From a command to its confirmation", *quantiles("hubbub_bot_confirm_seconds"), unit="s"),
        panel("Answers", (rate("hubbub_bot_answers_total", "outcome"), "{{outcome}}"), unit="ops"),
        panel("Answers tried again", (rate("hubbub_bot_answers_tried_again_total"), "tries"), (rate("hubbub_broker_stamped_total"), "given an id"), unit="ops"),
        panel("Connections to the broker", (gauge("hubbub_broker_connections", "instance"), "{{instance}}"), (rate("hubbub_broker_connection_failures_total"), "failures, a second"), note="2 of each bridge."),
        *DATABASE,
        *PROCESS,
    ]),
}


def dashboard(name, title, known_by, panels):
    source = {"type": "prometheus", "uid": "${source}"}
    drawn = []
    for number, one in enumerate(panels):
        drawn.append({
            "id": number + 1,
            "type": "timeseries",
            "title": one["title"],
            "description": one["note"],
            "datasource": source,
            "gridPos": {"h": 7, "w": 8, "x": number % 3 * 8, "y": number // 3 * 7},
            "fieldConfig": {"defaults": {"unit": one["unit"], "min": 0, "custom": {"fillOpacity": 8, "showPoints": "never"}}, "overrides": []},
            "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi", "sort": "desc"}},
            "targets": [{"refId": chr(65 + at), "datasource": source, "expr": query, "legendFormat": legend} for at, (query, legend) in enumerate(one["queries"])],
        })
    choice = lambda label, text, query: {
        "name": label, "label": text, "type": "query", "datasource": source, "query": {"query": query, "refId": label},
        # All are all that are listed: a tier's page shows no other tier's CPU.
        "multi": True, "includeAll": True, "refresh": 2, "sort": 1, "current": {"text": ["All"], "value": ["$__all"]},
    }
    return {
        "uid": f"hubbub-{name}",
        "title": title,
        "tags": ["hubbub"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "graphTooltip": 1,
        "links": [{"type": "dashboards", "title": "Hubbub", "tags": ["hubbub"], "asDropdown": True, "keepTime": True, "includeVars": True}],
        "templating": {"list": [
            {"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"},
            choice("job", "Job", f"label_values({known_by}, job)"),
            choice("instance", "Process", f'label_values({known_by}{{job=~"$job"}}, instance)'),
        ]},
        "panels": drawn,
    }


def main():
    made = {HERE / f"{name}.json": dashboard(name, *of) for name, of in DASHBOARDS.items()}
    if sys.argv[1:] != ["--queries"]:
        for path, board in made.items():
            path.write_text(json.dumps(board, indent=1, ensure_ascii=False) + "\n")
        return
    if {path: json.loads(path.read_text()) for path in HERE.glob("*.json")} != made:
        sys.exit("the dashboards are not what dashboards.py makes: run it")
    rules = []
    for path, board in made.items():
        for one in board["panels"]:
            for target in one["targets"]:
                query = target["expr"].replace("$__rate_interval", "5m")
                rules.append({"record": "query", "expr": query, "labels": {"of": f"{path.stem}: {one['title']} {target['refId']}"}})
    # JSON is YAML.
    print(json.dumps({"groups": [{"name": "queries", "rules": rules}]}, indent=1))


main()
