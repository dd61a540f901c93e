import DNS
import DNSSEC
import Daemon
import Testing

@testable import Recursion

/// The files in etc say what is built in.
struct BuiltInFilesTests {
    private func records(_ octets: [UInt8]) throws -> Set<ResourceRecord> {
        Set(
            try MasterFile.parse(octets, file: "", origin: .root) { _ in .failure(MasterFileIncludeError(reason: "")) }
                .map(\.record)
        )
    }

    private func file(_ name: String) throws -> [UInt8] {
        let root = #filePath.split(separator: "/", omittingEmptySubsequences: false).dropLast(3).joined(separator: "/")
        return try #require(WholeFile.octets("\(root)/etc/\(name)", maximum: 1 << 20))
    }

    @Test func rootHints() throws {
        #expect(try records(file("root.hints")) == records(Array(RootHints.builtIn.utf8)))
        #expect(try RootHints(Array(RootHints.builtIn.utf8), file: "").servers.count == 13)
    }

    @Test func trustAnchors() throws {
        #expect(try records(file("trust-anchors")) == records(Array(TrustAnchors.root.utf8)))
    }
}
