import ArgumentParser
import Cryptography
import Daemon
import Keys
import NIOCore
import NIOPosix
import Network
import TLS

#if canImport(Glibc)
import Glibc
#endif

/// `martlet tls`: certificates and their private keys.
struct TLSCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tls",
        abstract: "Looks after certificates and their private keys.",
        subcommands: [TLSDeployCommand.self]
    )
}

/// `martlet tls deploy`.
struct TLSDeployCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "deploy",
        abstract:
            "Puts a certificate and its key in place; the servers show it within a second, and no connection ends.",
        discussion: """
            Nothing is changed unless the pair belongs together and is good now. As a deploy hook of certbot it needs no files: \
            they are those of RENEWED_LINEAGE.
            """
    )

    @OptionGroup var instance: InstanceOptions
    @Option(help: "Which pair: NAME of [tls.pairs.NAME] in the configuration, or that of [tls] itself.")
    var name = TLSConfiguration.Pair.standardName
    @Option(help: ArgumentHelp("The authority's OCSP response for it, in DER.", valueName: "FILE")) var ocsp: String?
    @Argument(help: "PEM, the server's certificate and the chain behind it.") var certificate: String?
    @Argument(help: "PEM, the private key, without a passphrase.") var privateKey: String?

    private func files() throws -> (certificate: String, privateKey: String) {
        if let certificate, let privateKey { return (certificate, privateKey) }
        guard certificate == nil, let lineage = getenv("RENEWED_LINEAGE").map({ String(cString: $0) }) else {
            throw ValidationError("say which files: martlet tls deploy CERTIFICATE PRIVATE-KEY")
        }
        return ("\(lineage)/fullchain.pem", "\(lineage)/privkey.pem")
    }

    func run() async throws {
        let files = try files()
        // Read before the instance is entered: paths are the caller's.
        let octets = try FileOctets.read(files.certificate, most: CertificateChain.maximumOctets)
        let keys = try FileOctets.read(files.privateKey, most: CertificatePair.maximumKeyOctets)
        let response = try ocsp.map { try FileOctets.read($0, most: ServedCertificate.maximumOCSP) }
        let read: CertificatePair
        do {
            read = try CertificatePair(certificate: octets, keys: keys)
        } catch {
            switch error {
            case .certificate(let reason): throw ValidationError("\(files.certificate): \(reason)")
            case .key(let reason): throw ValidationError("\(files.privateKey): \(reason)")
            case .strangers: throw ValidationError("\(files.privateKey) does not belong to \(files.certificate)")
            }
        }
        let (chain, key) = (read.certificate.chain, read.key)
        guard chain.expires > time(nil) else { throw ValidationError("\(files.certificate): it has expired") }
        guard chain.begins <= time(nil) else { throw ValidationError("\(files.certificate): its time has not begun") }
        if let response, let ocsp {
            let fault: OCSPResponse.Fault?
            do { fault = try OCSPResponse(response, for: chain).fault(at: time(nil)) } catch { fault = error }
            if let fault { throw ValidationError("\(ocsp): \(fault)") }
        }
        try instance.enter()
        let configuration = try Configuration.load("etc/martlet.toml")
        guard let pair = configuration.tls.pairs.first(where: { $0.name == name }) else {
            throw ValidationError("there is no [tls.pairs.\(name)] in etc/martlet.toml")
        }
        try put(chain, key, response, in: pair, readBy: configuration.systemUsers[.keyd])
        print("\(pair.certificate): \(chain.names.joined(separator: " ")), good for \(Self.days(chain)) days")
        try await waitForKeyd(chain)
    }

    /// At each moment what is on disk can be used: the file with keys has the old one as well until the certificate is there.
    private func put(
        _ chain: CertificateChain,
        _ key: PrivateKey,
        _ response: [UInt8]?,
        in pair: TLSConfiguration.Pair,
        readBy user: String
    ) throws {
        let group = getuid() == 0 ? getpwnam(user)?.pointee.pw_gid : nil
        let before =
            (WholeFile.octets(pair.privateKey, maximum: CertificatePair.maximumKeyOctets)).map(PrivateKey.all) ?? []
        try replace(pair.privateKey, key.pem + before.flatMap(\.pem), mode: 0o640, group)
        // A response for the certificate before says nothing of this one.
        if unlink(pair.ocsp) != 0, errno != ENOENT { throw SetupError("remove \(pair.ocsp)") }
        try replace(pair.certificate, chain.pem, mode: 0o644, group)
        try replace(pair.privateKey, key.pem, mode: 0o640, group)
        if let response { try replace(pair.ocsp, response, mode: 0o644, group) }
    }

    private func replace(_ path: String, _ octets: [UInt8], mode: mode_t, _ group: gid_t?) throws {
        let slash = path.lastIndex(of: "/")
        let directory = open(slash.map { String(path[...$0]) } ?? ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard directory >= 0 else { throw SetupError("open the directory of \(path)") }
        defer { close(directory) }
        let name = slash.map { String(path[path.index(after: $0)...]) } ?? path
        var file = StateFile(directory: directory, name: name)
        file.mode = mode
        file.group = group
        var rest: [UInt8]? = octets
        try file.replace {
            defer { rest = nil }
            return rest
        }
    }

    /// What is in place now is good in any case; without keyd nobody can say that it's shown.
    private func waitForKeyd(_ chain: CertificateChain) async throws {
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let fault: String? = await Task(executorPreference: LoopExecutor.of(loop)) {
            let client = KeysClient(path: "run/key.sock", on: loop)
            defer { client.close() }
            for _ in 0..<60 {
                do throws(KeysError) {
                    let served = try await client.certificates()
                    if served.contains(where: { $0.chain == chain }) { return nil }
                } catch {
                    return "\(error)"
                }
                await loop.pause(.milliseconds(50))
            }
            return "keyd doesn't take it; its log says why"
        }.value
        guard let fault else { return print("keyd has it") }
        throw ValidationError("it is in place, but not in use: \(fault)")
    }

    static func days(_ chain: CertificateChain) -> Int { (chain.expires - time(nil)) / 86_400 }
}
