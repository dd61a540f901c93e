import Keys
import MailAuth
import NIOCore
import Testing

@testable import RemoteRelay

/// keyd isn't asked for each message of a burst, and what it says counts soon.
@Suite struct RecentKeysTests {
    private let start = NIODeadline.uptimeNanoseconds(1_000_000_000)

    private func key(_ selector: String) throws -> ActiveKey {
        let name = try SigningName(
            domain: Array("example.org".utf8),
            selector: Array(selector.utf8),
            algorithm: .rsaSHA256
        )
        return ActiveKey(name: name, key: KeyName(.dkim, subjectPublicKeyInfo: Array(selector.utf8)))
    }

    @Test func answersCountForAMoment() throws {
        var recent = RecentKeys()
        #expect(recent.keys(of: "example.org", at: start) == nil)
        let keys = try [key("a"), key("b")]
        recent.keep(keys, of: "example.org", at: start)
        // That a domain has none is an answer, too.
        recent.keep([], of: "other.test", at: start)
        #expect(recent.keys(of: "example.org", at: start + .milliseconds(249)) == keys)
        #expect(recent.keys(of: "other.test", at: start + .milliseconds(249)) == [])
        #expect(recent.keys(of: "example.org", at: start + RecentKeys.lifetime) == nil)
    }

    @Test func domainsHaveABound() {
        var recent = RecentKeys()
        for number in 0...RecentKeys.capacity { recent.keep([], of: "d\(number).test", at: start) }
        #expect(recent.keys(of: "d0.test", at: start) == nil)
        #expect(recent.keys(of: "d\(RecentKeys.capacity).test", at: start) == [])
    }
}
