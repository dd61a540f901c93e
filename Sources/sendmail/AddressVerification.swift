import Accounts
import NIOCore
import NIOPosix
import Network
import SMTP

/// `sendmail -bv`: says where addresses lead, as sendmail does, and sends nothing. authd answers root alone: others should not be
/// able to list whom it knows.
struct AddressVerification {
    private let identity: Identity

    init(_ identity: Identity) { self.identity = identity }

    /// - Throws: `Failure`: EX_NOUSER where an address isn't there, EX_TEMPFAIL where that can't be known now.
    func run(_ options: SendmailOptions) async throws {
        guard !options.recipients.isEmpty else { throw Failure(.usage, "no addresses") }
        let addresses = try options.recipients.map { String(try identity.path($0).dropFirst().dropLast()) }
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let failure = await Task(executorPreference: LoopExecutor.of(loop)) { () -> Failure? in
            let accounts = AccountsClient(path: "run/auth.sock", on: loop)
            defer { accounts.close() }
            var failure: Failure?
            for address in addresses {
                let (text, found) = await verify(address, accounts)
                print("\(address)... \(text)")
                // What isn't known says more than what isn't there.
                if failure == nil || found?.code == .temporary { failure = found ?? failure }
            }
            return failure
        }.value
        if let failure { throw failure }
    }

    private func verify(_ address: String, _ accounts: AccountsClient) async -> (String, Failure?) {
        do throws(AccountsError) {
            guard try await accounts.recipient(address) == .local else {
                let host = address.split(separator: "@").last.map(String.init) ?? ""
                return ("deliverable: mailer remote-relay, host \(host), user \(address)", nil)
            }
            switch try await accounts.expand(address) {
            case .mailbox(let mailbox, _):
                return ("deliverable: mailer local-deliver, user \(mailbox.address)", nil)
            case .forward(let targets, _):
                return ("deliverable: leads to \(targets.joined(separator: ", "))", nil)
            }
        } catch {
            switch error {
            case .refused(let status, let text):
                return ("undeliverable: \(status) \(text)", Failure(.noUser, "\(address): \(text)"))
            case .deferred(let status, let text):
                return ("not known now: \(status) \(text)", Failure(.temporary, "\(address): \(text)"))
            case .unavailable(let reason): return ("not known now", Failure(.temporary, reason))
            }
        }
    }
}
