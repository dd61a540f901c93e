import Bus
import Cryptography
import Encodings
import NIOCore
import Network
import SASL
import SMTP

extension AuthorityService {
    /// One step of SCRAM: the client's first message opens an exchange, its second one ends it. The front passes octets on and never
    /// sees what the password is recognised by.
    func scram(_ frame: Frame, _ directory: AccountDirectory, _ connection: Connection) {
        guard let message = frame["message"].flatMap({ Base64.decode($0.utf8) }) else {
            connection.write(Self.rejection(frame, .invalidArguments, "a message is needed"))
            return
        }
        if let name = frame["exchange"] {
            finishScram(frame, name, message, directory, connection)
        } else {
            beginScram(frame, message, directory, connection)
        }
    }

    private func beginScram(
        _ frame: Frame,
        _ message: [UInt8],
        _ directory: AccountDirectory,
        _ connection: Connection
    ) {
        guard let request = LoginRequest(frame),
            let need = frame["mechanism"].flatMap(SASLMechanismName.init(rawValue:))?.need,
            case .scram(let mechanism) = need
        else {
            connection.write(Self.rejection(frame, .invalidArguments, "service and mechanism are needed"))
            return
        }
        let bindings = ChannelBindings(
            exporter: frame["tls-exporter"].flatMap { Base64.decode($0.utf8) },
            serverEndPoint: frame["tls-server-end-point"].flatMap { Base64.decode($0.utf8) }
        )
        var server = ScramServer(mechanism, bindings: bindings, nonce: Base64.encode(SecureRandom.octets(18)))
        let client: ScramServer.Client
        do throws(ScramFault) {
            client = try server.begin(message)
        } catch {
            return refuse(frame, request, user: "", reason: "\(error)", connection)
        }
        let account = directory.account(user: client.user)
        // By the names alone: an account must not show by it.
        let user = directory.normalizedName(client.user)
        if let other = client.authorization, directory.normalizedName(other) != user {
            return refuse(frame, request, user: client.user, reason: "wants to act for another", connection)
        }
        let (salt, iterations) = salt(account, request.service, name: user)
        let name = Base64.text(SecureRandom.octets(18))
        let challenge = server.challenge(salt: salt, iterations: iterations)
        exchanges.add(
            ScramExchange(
                server: server,
                mechanism: mechanism,
                user: client.user,
                service: request.service,
                address: request.address,
                client: request.client,
                salt: salt,
                iterations: iterations
            ),
            as: name,
            now: .now()
        )
        connection.write(
            .ok(
                tag: frame["tag"],
                [
                    .init("exchange", name), .init("challenge", Base64.text(challenge)), .init("user", client.user),
                ]
            )
        )
    }

    /// What a client is told to hash its password with. Names without an account look like those with one.
    private func salt(_ account: Account?, _ service: String, name: String) -> (salt: [UInt8], iterations: Int) {
        let standard = settings.scramIterations ?? ScramVerifier.iterationRange.lowerBound
        guard let account else { return (state.saltKey.salt(of: name), standard) }
        if let known = state.verifier(of: account) ?? appPasswords(account, service).lazy.compactMap(\.verifier).first {
            return (known.salt, known.iterations)
        }
        return (state.saltKey.salt(of: account), standard)
    }

    private func appPasswords(_ account: Account, _ service: String) -> [AppPassword] {
        (files.credentials.appPasswords?[account.address] ?? []).filter { $0.isGood(for: service) }
    }

    private func finishScram(
        _ frame: Frame,
        _ name: String,
        _ message: [UInt8],
        _ directory: AccountDirectory,
        _ connection: Connection
    ) {
        guard let exchange = exchanges.take(name, now: .now()) else {
            // It took too long, there were too many, or this is another authd.
            connection.write(Self.deferral(frame, .refusedForNow, "no such exchange"))
            return
        }
        let request = LoginRequest(service: exchange.service, address: exchange.address)
        let account = directory.account(user: exchange.user)
        let proof = Result { () throws(ScramFault) in try exchange.server.finish(message) }
        Task(executorPreference: LoopExecutor.of(connection.eventLoop)) { [self] in
            // What could not be read may have what the client knows. Who asks can't tell from it whether there is an account.
            let isUnsure = files.credentials.appPasswords == nil || state.areVerifiersUnknown
            var judged = account
            var confirmation: [UInt8]?
            var appPassword: AppPassword?
            var reason: String?
            // A proof says nothing of the password that was guessed: all guesses of a client at an account are one, and wait as
            // one, each longer than the one before.
            var verdict = await verifier.verify(
                secret: "SCRAM".utf8,
                user: directory.loginName(exchange.user),
                account,
                client: exchange.client
            ) {
                switch proof {
                case .failure(let fault): reason = "\(fault)"
                case .success(let proof):
                    // As it is after the wait.
                    judged = files.current()?.account(user: exchange.user)
                    (confirmation, appPassword) = judge(proof, exchange, judged)
                }
                return confirmation == nil ? .refused : .verified
            }
            if verdict == .refused, isUnsure { verdict = .busy }
            await answer(
                frame,
                verdict,
                judged,
                request,
                user: exchange.user,
                by: appPassword.map { "SCRAM, app password \($0.name)" } ?? "SCRAM",
                appPassword: appPassword,
                reason: reason,
                confirmation.map { [.init("confirmation", Base64.text($0))] } ?? [],
                on: connection
            )
        }
    }

    /// Holds a proof against what the account may log in by. Without an account it costs as much.
    private func judge(
        _ proof: ScramServer.Proof,
        _ exchange: ScramExchange,
        _ account: Account?
    ) -> (confirmation: [UInt8]?, AppPassword?) {
        let isOpen = account.map { !$0.isLocked } ?? false
        var candidates: [(verifier: ScramVerifier, appPassword: AppPassword?)] = []
        if isOpen, let account {
            if let own = state.verifier(of: account) { candidates.append((own, nil)) }
            for password in appPasswords(account, exchange.service) {
                if let verifier = password.verifier { candidates.append((verifier, password)) }
            }
        }
        for (verifier, appPassword) in candidates
        where verifier.salt == exchange.salt && verifier.iterations == exchange.iterations {
            if let confirmation = proof.confirmation(by: verifier.keys(exchange.mechanism.hash)) {
                return (confirmation, appPassword)
            }
        }
        if candidates.isEmpty { _ = proof.confirmation(by: Self.nobodysKeys) }
        return (nil, nil)
    }

    /// Of no password.
    private static let nobodysKeys = ScramKeys(
        storedKey: [UInt8](repeating: 0, count: 32),
        serverKey: [UInt8](repeating: 0, count: 32)
    )

    /// Refuses a first message. It counts as a failure of the client's.
    private func refuse(
        _ frame: Frame,
        _ request: LoginRequest,
        user: String,
        reason: String,
        _ connection: Connection
    ) {
        Task(executorPreference: LoopExecutor.of(connection.eventLoop)) { [self] in
            let verdict = await verifier.verify(secret: "SCRAM".utf8, user: request.nobody, nil, client: request.client)
            {
                .refused
            }
            await answer(frame, verdict, nil, request, user: user, by: "SCRAM", reason: reason, on: connection)
        }
    }
}
