import Bus
import NIOCore
import SimulatedDisk
import Spool
import Testing

@testable import QueueManager

#if canImport(Glibc)
import Glibc
#endif

/// What an administrator asks for while the spool can't be written: it's done or said to be impossible, and nothing is lost.
@Suite(.timeLimit(.minutes(2))) struct BadDiskTests {
    enum Trouble: String, CaseIterable, Sendable {
        /// The file system has turned read-only under the process.
        case readOnly
        /// Nothing new can be written.
        case full

        var plan: FaultPlan {
            switch self {
            case .readOnly:
                let changing: SimulatedOperation = [
                    .create, .write, .truncate, .allocate, .makeDirectory, .rename, .link, .remove, .setModified,
                ]
                return FaultPlan(faults: [.init(changing, code: EROFS)])
            case .full:
                // What was written once has its room.
                return FaultPlan(faults: [.init(.growing, code: ENOSPC, path: { !$0.contains("journal/") })])
            }
        }
    }

    private static let verbs = [
        "LIST", "STATISTICS", "SUMMARY", "SHOW", "PAUSES", "FLUSH", "HOLD", "RELEASE", "REQUEUE", "REROUTE", "REMOVE",
        "BOUNCE",
        "EXPIRE", "PAUSE", "RESUME",
    ]
    private static let looking: Set = ["LIST", "STATISTICS", "SUMMARY", "SHOW", "PAUSES", "FLUSH", "REROUTE"]

    @Test(arguments: Trouble.allCases, verbs) func verbIsDoneOrRefused(trouble: Trouble, verb: String) async throws {
        let queue = try TestQueue()
        let disk = SimulatedFileSystem(seed: 1)
        let (relay, deliverer) = (try await queue.relay(), try await queue.deliverer())
        try await queue.start(disk: disk)
        let id = try #require(try await queue.submit(to: ["<bob@example.net>"])["id"])
        try await relay.next().answer(.defer, "4.2.0")
        _ = try await queue.list { $0.first?["reason"] == "4.2.0" || $0.first?["reason"]?.hasPrefix("4.2.0") == true }
        // On the disk, and held where that is to be undone; something is paused.
        #expect(try await queue.control("PAUSE", [.init("sender", "carol@example.test")]).last?.replyKind == .ok)
        let named = [Frame.Field("id", id)]
        #expect(try await queue.control("HOLD", named).last?.replyKind == .ok)
        if verb != "RELEASE" {
            #expect(try await queue.control("RELEASE", named).last?.replyKind == .ok)
            try await relay.next().answer(.defer, "4.2.0")
            _ = try await queue.list { $0.first?["state"] == "deferred" && $0.first?["attempts"] == "2" }
        }
        let state = try #require(try await queue.list().first?["state"])

        disk.start(trouble.plan)
        let fields: [Frame.Field] =
            switch verb {
            case "PAUSE": [.init("destination", "example.org")]
            case "RESUME": [.init("sender", "carol@example.test")]
            case "LIST", "STATISTICS", "SUMMARY", "PAUSES": []
            default: named
            }
        let reply = try #require(try await queue.control(verb, fields).last)
        let kind = try #require(reply.replyKind)
        if Self.looking.contains(verb) { #expect(kind == .ok) }
        if kind != .ok {
            #expect(kind == .defer)
            let words = trouble == .full ? "no space in the spool" : "Read-only file system"
            #expect(reply["text"]?.contains(words) == true || reply["text"]?.contains("the journal failed") == true)
            #expect(reply["status"] == "4.3.0")
        } else if !Self.looking.contains(verb) {
            // Only a journal that can be written promises anything.
            #expect(trouble == .full)
        }
        if kind == .ok, verb == "FLUSH" || verb == "REROUTE" { try await relay.next().answer(.defer, "4.2.0") }
        // One whose journal is broken ends, and is started again once the disk is well.
        disk.start()
        await queue.stop()
        try await queue.start(disk: disk)
        let isGone = kind == .ok && ["REMOVE", "BOUNCE", "EXPIRE"].contains(verb)
        if isGone {
            if verb != "REMOVE" { try await deliverer.next().answer(.ok, "2.0.0") }
            _ = try await queue.list { $0.isEmpty }
        } else {
            let rest = try await queue.list { !$0.isEmpty }
            #expect(rest.map { $0["id"] } == [id])
            let isHeld = kind == .ok ? verb == "HOLD" : state == "held"
            #expect((rest.first?["state"] == "held") == isHeld)
        }
        let paused = Set(try await queue.control("PAUSES").dropLast().flatMap { $0.fields.prefix(1).map(\.value) })
        var expected: Set = ["carol@example.test"]
        if kind == .ok, verb == "PAUSE" { expected.insert("example.org") }
        if kind == .ok, verb == "RESUME" { expected = [] }
        #expect(paused == expected)
        await queue.stop()
        await relay.stop()
        await deliverer.stop()
    }

    /// A start on a disk that can't be written says so.
    @Test func startOnAReadOnlyDiskIsRefused() async throws {
        let queue = try TestQueue()
        let disk = SimulatedFileSystem(seed: 1)
        try await queue.start(disk: disk)
        await queue.stop()
        disk.start(Trouble.readOnly.plan)
        await #expect { try await queue.start(disk: disk) } throws: { "\($0)".contains("Read-only file system") }
    }
}
