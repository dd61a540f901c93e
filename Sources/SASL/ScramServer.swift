import Cryptography
import Encodings

/// The server's side of SCRAM (RFC 5802) for one login: reads the client's two messages and says what to answer. It knows no
/// user: who calls it looks up the salt between the two, and the keys after the second.
package struct ScramServer: Sendable {
    /// Who wants to log in.
    package struct Client: Equatable, Sendable {
        package let user: String
        /// As whom, where the client says so.
        package let authorization: String?
    }

    /// What the client has shown, to be held against keys.
    package struct Proof: Sendable {
        let hash: ScramHash
        let message: [UInt8]
        let proof: [UInt8]

        /// The server's last message, where the client knows the password that the keys were made of; otherwise nil. Takes the
        /// same time for any proof.
        package func confirmation(by keys: ScramKeys) -> [UInt8]? {
            let function = hash.function
            let signature = MessageAuthentication.code(of: message, key: keys.storedKey, using: function)
            let clientKey = zip(proof, signature).map { $0 ^ $1 }
            guard MessageAuthentication.areEqual(function.digest(of: clientKey), keys.storedKey) else { return nil }
            let answer = MessageAuthentication.code(of: message, key: keys.serverKey, using: function)
            return Array("v=".utf8) + Base64.encode(answer)
        }
    }

    private let mechanism: ScramMechanism
    private let bindings: ChannelBindings
    private let serverNonce: [UInt8]
    /// What the second message must repeat.
    private var header: GS2Header?
    private var nonce: [UInt8] = []
    /// The messages so far, without the header, which both sides sign.
    private var signed: [UInt8] = []

    private static let comma = UInt8(ascii: ",")
    /// Octets of a client's nonce; ours comes on top.
    private static let maximumNonce = 512
    /// Octets of a message.
    private static let maximumMessage = 8192
    /// Octets of the client's first message, which is kept until the second one comes.
    private static let maximumFirst = 2048

    /// - Parameters:
    ///   - bindings: of the client's connection; empty where no -PLUS is offered to it.
    ///   - nonce: printable, without commas, and never used before.
    package init(_ mechanism: ScramMechanism, bindings: ChannelBindings, nonce: [UInt8]) {
        self.mechanism = mechanism
        self.bindings = bindings
        serverNonce = nonce
    }

    /// Reads `client-first-message`.
    package mutating func begin(_ message: [UInt8]) throws(ScramFault) -> Client {
        guard message.count <= Self.maximumFirst else { throw .malformed }
        var rest = message[...]
        let header = try GS2Header(parsing: &rest)
        try check(header.binding)
        let bare = Array(rest)
        var attributes = Self.attributes(rest)
        guard let first = attributes.popFirst() else { throw .malformed }
        if first.starts(with: "m=".utf8) { throw .extensionNotSupported }
        guard first.starts(with: "n=".utf8), let user = GS2Header.name(first.dropFirst(2)),
            let second = attributes.popFirst(), second.starts(with: "r=".utf8)
        else { throw .malformed }
        let clientNonce = second.dropFirst(2)
        guard (1...Self.maximumNonce).contains(clientNonce.count), clientNonce.allSatisfy(Self.isPrintable),
            attributes.allSatisfy(Self.isExtension)
        else { throw .malformed }
        self.header = header
        nonce = Array(clientNonce) + serverNonce
        signed = bare
        return Client(user: user, authorization: header.authorization)
    }

    /// RFC 5802 §6
    private func check(_ binding: GS2Header.Binding) throws(ScramFault) {
        switch binding {
        case .unsupported:
            if mechanism.isPlus { throw .bindingNotSupported }
        case .notOffered:
            if mechanism.isPlus { throw .bindingNotSupported }
            if !bindings.isEmpty { throw .downgraded }
        case .used(let name):
            guard mechanism.isPlus, bindings[name] != nil else { throw .bindingNotSupported }
        }
    }

    /// `server-first-message`, for the client's first.
    package mutating func challenge(salt: [UInt8], iterations: Int) -> [UInt8] {
        let message = Array("r=".utf8) + nonce + Array(",s=\(Base64.text(salt)),i=\(iterations)".utf8)
        signed += [Self.comma] + message
        return message
    }

    /// Reads `client-final-message`.
    package func finish(_ message: [UInt8]) throws(ScramFault) -> Proof {
        guard let header, message.count <= Self.maximumMessage else { throw .malformed }
        var attributes = Self.attributes(message[...])
        guard let first = attributes.popFirst(), first.starts(with: "c=".utf8),
            let binding = Base64.decode(first.dropFirst(2)), let second = attributes.popFirst(),
            second.starts(with: "r=".utf8), let last = attributes.popLast(), last.starts(with: "p=".utf8),
            let proof = Base64.decode(last.dropFirst(2)), proof.count == mechanism.hash.function.digestLength,
            attributes.allSatisfy(Self.isExtension)
        else { throw .malformed }
        guard second.dropFirst(2).elementsEqual(nonce) else { throw .nonceDiffers }
        var expected = header.octets
        if case .used(let name) = header.binding { expected += bindings[name] ?? [] }
        guard MessageAuthentication.areEqual(binding, expected) else { throw .bindingDiffers }
        let unproven = message.dropLast(last.count + 1)
        return Proof(hash: mechanism.hash, message: signed + [Self.comma] + Array(unproven), proof: proof)
    }

    private static func attributes(_ message: ArraySlice<UInt8>) -> ArraySlice<ArraySlice<UInt8>> {
        message.split(separator: comma, maxSplits: 64, omittingEmptySubsequences: false)[...]
    }

    private static func isPrintable(_ octet: UInt8) -> Bool { (0x21...0x7e).contains(octet) && octet != comma }

    /// An attribute that the server may ignore: a letter and a value (RFC 5802 §5.1).
    private static func isExtension(_ attribute: ArraySlice<UInt8>) -> Bool {
        guard let letter = attribute.first, (0x61...0x7a).contains(letter | 0x20), letter != UInt8(ascii: "m"),
            attribute.dropFirst().first == UInt8(ascii: "=")
        else { return false }
        return !attribute.contains(0)
    }
}
