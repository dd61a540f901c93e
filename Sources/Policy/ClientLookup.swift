import Logging
import MailAuth
import MailRules
import NIOCore
import Network
import Resolution

/// Asks the DNS about a client, for the rules: its name, and the lists that have it. Belongs to one event loop.
package enum ClientLookup {
    /// - Parameters:
    ///   - address: of 4 or 16 octets.
    ///   - trial: tries lists out; nil for none.
    ///   - timeout: how long answers are waited for.
    package static func run(
        _ address: [UInt8],
        lists: [DNSList],
        trial: (lists: DNSListTrial, logger: Logger)? = nil,
        timeout: TimeAmount,
        on loop: any EventLoop,
        query: @escaping StubResolver.Query
    ) async -> ConnectionFacts {
        loop.assertInEventLoop()
        let lookup = ResolverLookup(on: loop, query: query)
        lookup.deadline = .now() + timeout
        return await ConnectionFacts(of: address, lists: lists, trial: trial, lookup: lookup)
    }
}

extension ConnectionFacts {
    /// Asks about a client's name and lists at the same time.
    ///
    /// - Parameter address: of 4 or 16 octets.
    package init(
        of address: [UInt8],
        lists: [DNSList],
        trial: (lists: DNSListTrial, logger: Logger)? = nil,
        lookup: any MailAuthLookup
    ) async {
        async let reverse = ReverseNameCheck.run(address, lookup: lookup)
        let listed = await DNSListCheck.run(address, lists: lists, lookup: lookup) {
            guard let trial else { return [] }
            return await trial.lists.faulty(lists, lookup: lookup, logger: trial.logger)
        }
        let name = await reverse
        self.init(
            name: name.name,
            iprev: name.keyword,
            lists: listed.listed,
            unknownLists: listed.unknown,
            score: listed.score
        )
    }
}
