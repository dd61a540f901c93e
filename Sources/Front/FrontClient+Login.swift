import Accounts
import CoreMetrics
import Logging
import NIOCore
import Network
import SASL
import SMTP

/// The result of a login that is handed over to a mailbox process.
package enum MailboxLogin {
    /// The connection carries the session from now on; `text` is for people.
    case accepted(Connection, text: String?)
    /// The user or the password is wrong.
    case wrong
    /// They are right, but the mailbox can't be opened. The text is for the client.
    case refused(MailboxRefusal, text: String)
    /// It can't be verified now.
    case unavailable
}

/// Why a mailbox can't be opened, as far as it makes a difference to a client.
package enum MailboxRefusal: Equatable {
    /// Another session has it.
    case inUse
    /// Trying again later may help.
    case temporary
    case permanent
}

/// The result of a login that needs no mailbox.
package enum Login: Equatable {
    /// The address that the client has shown to be its own.
    case accepted(address: String)
    /// The user or the password is wrong.
    case wrong
    /// It can't be verified now.
    case unavailable
}

extension EnhancedStatusCode {
    /// 4.2.0: another session has the mailbox.
    package static let mailboxInUse = EnhancedStatusCode(4, 2, 0)
}

/// What authd says of a client's evidence.
package enum LoginVerdict: Equatable {
    case accepted(VerifiedLogin)
    /// The user, the password, or what took its place is wrong.
    case wrong
    /// It can't be verified now.
    case unavailable
}

extension FrontClient {
    /// Lets a client in that authd has accepted. Counts the login and logs it.
    package func logIn(_ verdict: LoginVerdict) -> Login {
        switch verdict {
        case .accepted(let login):
            logLogin(login)
            return .accepted(address: login.address)
        case .wrong: return .wrong
        case .unavailable: return .unavailable
        }
    }

    /// Hands the session of a client over that authd has accepted, with the ticket that it gave. Counts the login and logs it.
    ///
    /// - Parameter mark: by which the session may give the client back.
    package func logIn(
        _ verdict: LoginVerdict,
        by handover: LoginHandover,
        mark: ReturnMark? = nil
    ) async -> MailboxLogin {
        let login: VerifiedLogin
        switch verdict {
        case .accepted(let verified): login = verified
        case .wrong: return .wrong
        case .unavailable: return .unavailable
        }
        guard let ticket = login.ticket else {
            logDeferral("authd gave no ticket")
            return .unavailable
        }
        let isEncrypted = connection.tls != nil
        switch await handover.begin(
            ticket: ticket,
            client: address,
            isEncrypted: isEncrypted,
            mark: mark,
            on: connection.eventLoop
        ) {
        case .accepted(let session, let text):
            logLogin(login)
            return .accepted(session, text: text)
        case .refused(let status, let text):
            if let refusal = Self.refusal(status) { return .refused(refusal, text: text) }
            logDeferral("mailbox process: \(status) \(text)")
            return .unavailable
        case .unavailable(let reason):
            logDeferral(reason)
            return .unavailable
        }
    }

    /// The client's session has given it back: it's a stranger again, with as much time as a new one, and the faults that it had.
    package func beStrangerAgain() {
        connection.idleTimeout = settings.idleTimeout
        connection.deadline = .now() + settings.sessionTimeout
        connection.note(.stranger)
    }

    /// The refusal for the client; nil where it gets no reason. The password was right: that the ticket isn't, or that the
    /// mailbox process has trouble, is our own affair.
    private static func refusal(_ status: EnhancedStatusCode) -> MailboxRefusal? {
        switch status {
        case .mailboxInUse: .inUse
        case .systemTrouble: nil
        case _ where status.statusClass == 4: .temporary
        case _ where status.statusClass == 5 && status.subject == 2: .permanent
        default: nil
        }
    }

    /// Asks authd who the client is.
    package func verify(_ evidence: SASLEvidence, for service: LoginService) async -> LoginVerdict {
        do throws(AccountsError) {
            switch evidence {
            case .password(let credentials):
                return .accepted(
                    try await authority.accounts.verify(
                        service: service,
                        user: credentials.user,
                        password: credentials.password,
                        client: address
                    )
                )
            case .token(let credentials):
                return .accepted(
                    try await authority.accounts.verify(service: service, token: credentials, client: address)
                )
            case .certificate(let authorization):
                return .accepted(
                    try await authority.accounts.verify(
                        service: service,
                        certificate: clientCertificate,
                        user: authorization,
                        client: address
                    )
                )
            }
        } catch {
            return verdict(error, user: evidence.user)
        }
    }

    /// Counts and logs that a login was not accepted.
    func verdict(_ error: AccountsError, user: String) -> LoginVerdict {
        switch error {
        case .refused:
            counters.loginsFailed.increment()
            logger.notice("login failed", metadata: ["client": "\(address)", "user": "\(user)"])
            return .wrong
        // Strangers bring that about as they like.
        case .deferred(.refusedForNow, let text): logDeferral("authd: \(text)", as: .notice)
        case .deferred(_, let text): logDeferral("authd: \(text)")
        case .unavailable(let reason): logDeferral(reason)
        }
        return .unavailable
    }

    private func logLogin(_ login: VerifiedLogin) {
        counters.logins.increment()
        connection.note(.known)
        logger.info("login", metadata: ["client": "\(address)", "user": "\(login.address)"])
    }

    private func logDeferral(_ reason: String, as level: Logger.Level = .error) {
        counters.loginsDeferred.increment()
        logger.log(level: level, "login deferred", metadata: ["client": "\(address)", "reason": "\(reason)"])
    }
}
