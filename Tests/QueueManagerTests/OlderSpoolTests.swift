import Bus
import Files
import Foundation
import NIOCore
import Spool
import Testing

@testable import QueueManager

/// What an older version of Martlet wrote is read, and everything in it delivered.
@Suite(.timeLimit(.minutes(2))) struct OlderSpoolTests {
    private static let fixture = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().appendingPathComponent("OlderSpools/format-1").path

    private func queue() throws -> TestQueue {
        let queue = try TestQueue()
        try FileManager.default.copyItem(atPath: Self.fixture, toPath: queue.path("spool"))
        try FileManager.default.removeItem(atPath: queue.path("spool/README.md"))
        return queue
    }

    @Test func everythingIsDelivered() async throws {
        let queue = try queue()
        let (deliverer, relay) = (try await queue.deliverer(), try await queue.relay())
        try await queue.start()
        #expect(try String(contentsOfFile: queue.path("spool/version"), encoding: .utf8) == "martlet spool 2\n")
        let report = try await deliverer.next()
        #expect(report.message == "Received: by here\r\nSubject: report\r\n\r\nReport.\r\n")
        #expect(report.frame["sender"] == "<>")
        report.answer(.ok, "2.0.0")
        var delivered: [String: String] = [:]
        var held: String?
        while delivered.count < 3 {
            if delivered.count == 2, held == nil {
                let waiting = try await queue.list { $0.count == 1 }
                held = waiting.first?["id"]
                #expect(waiting.first?["state"] == "held")
                let named = [Frame.Field("id", held ?? "")]
                #expect(try await queue.control("RELEASE", named).last?.replyKind == .ok)
            }
            let request = try await relay.next()
            for recipient in request.frame.all("recipient") { delivered[recipient] = request.message }
            // One who has it isn't asked again.
            if request.frame.all("recipient") == ["<two@example.net>"] { #expect(request.frame["attempt"] == "2") }
            request.answer(.ok, "2.0.0")
        }
        #expect(
            delivered == [
                "<two@example.net>": "Received: from a by b\r\nSubject: first\r\n\r\nFirst.\r\n",
                "<three@example.net>": "Subject: held\r\n\r\nHeld.\r\n",
                "<four@example.net>": "Subject: journal\r\n\r\nJournal.\r\n",
            ]
        )
        _ = try await queue.list { $0.isEmpty }
        await queue.stop()
        // It's as new now.
        try await queue.start()
        #expect(try await queue.list().isEmpty)
        await queue.stop()
        await deliverer.stop()
        await relay.stop()
    }

    /// `martlet queue fsck` says which format it is, and brings it forward where it mends.
    @Test func checkKnowsTheFormat() throws {
        let queue = try queue()
        let path = queue.path("spool")
        let found = try SpoolCheck(path: path, disk: KernelFileSystem(), isMending: false)
        #expect(found.version == 1)
        #expect(found.findings.map(\.kind) == [.incoming])
        #expect(found.unfiled == 1)
        let mended = try SpoolCheck(path: path, disk: KernelFileSystem(), isMending: true)
        #expect(mended.version == 2)
        #expect(mended.messages == 4)
        #expect(try SpoolCheck(path: path, disk: KernelFileSystem(), isMending: false).version == 2)
    }

    /// What a later version wrote is left alone.
    @Test func laterSpoolIsLeftAlone() async throws {
        let queue = try queue()
        for content in ["martlet spool 3\n", "martlet spool 12\n", "nonsense", ""] {
            try Data(content.utf8).write(to: URL(fileURLWithPath: queue.path("spool/version")))
            let before = try FileManager.default.subpathsOfDirectory(atPath: queue.path("spool")).sorted()
            let lock = try Data(contentsOf: URL(fileURLWithPath: queue.path("spool/lock")))
            let expected: SpoolError =
                content.hasPrefix("martlet") ? .newer(content.contains("12") ? 12 : 3) : .corrupt("version")
            await #expect(throws: expected) { try await queue.start() }
            #expect(throws: expected) {
                try SpoolCheck(path: queue.path("spool"), disk: KernelFileSystem(), isMending: true)
            }
            #expect(try FileManager.default.subpathsOfDirectory(atPath: queue.path("spool")).sorted() == before)
            #expect(try Data(contentsOf: URL(fileURLWithPath: queue.path("spool/lock"))) == lock)
        }
        #expect("\(SpoolError.newer(3))".contains("start the version that wrote it"))
    }
}
