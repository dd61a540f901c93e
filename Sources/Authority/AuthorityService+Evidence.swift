import Bus
import Encodings
import JWT
import NIOCore
import Network
import SMTP
import TLS

extension AuthorityService {
    // MARK: Tokens

    /// Answers whether an access token is good for a login (RFC 7628).
    func verifyToken(_ frame: Frame, _ directory: AccountDirectory, _ connection: Connection) {
        guard let token = frame["token"], let request = LoginRequest(frame) else {
            connection.write(Self.rejection(frame, .invalidArguments, "service and token are needed"))
            return
        }
        guard let requirements = settings.tokens else {
            connection.write(Self.rejection(frame, .badCredentials, "no tokens are taken"))
            return
        }
        let user = frame["user"]
        Task(executorPreference: LoopExecutor.of(connection.eventLoop)) { [self] in
            var account: Account?
            var reason: String?
            var isUnknownKey = false
            var verdict = await verifier.verify(
                secret: token.utf8,
                user: user.map { directory.loginName($0) } ?? request.nobody,
                user.flatMap { directory.account(user: $0) },
                client: request.client
            ) {
                // Without keys nobody knows; nor with a key that the provider may have made since they were fetched. That counts as a
                // failure all the same: anybody can make up a key.
                guard let keys = files.credentials.tokenKeys else {
                    reason = "the provider's keys cannot be read"
                    return .busy
                }
                do throws(JWTFault) {
                    let name = try requirements.account(of: token, keys: keys, now: settings.clock())
                    account = directory.account(user: name)
                } catch {
                    reason = error.description
                    isUnknownKey = error == .unknownKey
                    return .refused
                }
                guard let found = account, !found.isLocked else {
                    reason = "no account of that name"
                    return .refused
                }
                if let user, directory.account(user: user)?.address != found.address {
                    reason = "of another account"
                    return .refused
                }
                return .verified
            }
            if verdict == .refused, isUnknownKey { verdict = .busy }
            await answer(
                frame,
                verdict,
                account,
                request,
                user: user ?? account?.address.description ?? "",
                by: "token",
                reason: reason,
                on: connection
            )
        }
    }

    // MARK: Certificates

    /// Answers whose a client certificate is (RFC 4422 appendix A). That the client has its private key only the front knows; that
    /// the certificate is one of our authorities' is looked at here once more.
    func verifyCertificate(_ frame: Frame, _ directory: AccountDirectory, _ connection: Connection) {
        let chain = frame.all("certificate").compactMap { Base64.decode($0.utf8) }
        guard let first = chain.first, let request = LoginRequest(frame) else {
            connection.write(Self.rejection(frame, .invalidArguments, "service and certificate are needed"))
            return
        }
        let user = frame["user"]
        Task(executorPreference: LoopExecutor.of(connection.eventLoop)) { [self] in
            var account: Account?
            var reason: String?
            let verdict = await verifier.verify(
                secret: first,
                user: user.map { directory.loginName($0) } ?? request.nobody,
                user.flatMap { directory.account(user: $0) },
                client: request.client
            ) {
                guard let authorities = files.credentials.authorities, let table = files.credentials.certificates else {
                    reason = "the authorities or the table of certificates cannot be read"
                    return .busy
                }
                guard let certificate = authorities.verified(chain) else {
                    reason = "not of one of our authorities"
                    return .refused
                }
                let accounts = accounts(of: certificate, table, directory)
                let wanted = user.map { directory.account(user: $0)?.address }
                account = accounts.first { wanted == nil || $0.address == wanted }
                if account == nil { reason = accounts.isEmpty ? "nobody's" : "of another account" }
                return account == nil ? .refused : .verified
            }
            await answer(
                frame,
                verdict,
                account,
                request,
                user: user ?? account?.address.description ?? "",
                by: "certificate",
                reason: reason,
                on: connection
            )
        }
    }

    /// The accounts that a certificate is good for: those that the table names, or else those of the addresses in it.
    private func accounts(
        of certificate: ClientCertificate,
        _ table: CertificateTable,
        _ directory: AccountDirectory
    ) -> [Account] {
        let owners = table.owners(of: certificate.fingerprint)
        let named = certificate.addresses.compactMap { try? MailAddress(parsing: $0.utf8, options: .utf8) }
        return (owners.isEmpty ? named : owners).compactMap { directory.accounts[$0] }.filter { !$0.isLocked }
    }
}
