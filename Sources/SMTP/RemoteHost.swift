/// Another host as results of deliveries name it: `mx.example.net [192.0.2.25]:25`.
package struct RemoteHost: Hashable, Sendable, CustomStringConvertible {
    /// The host's name; nil where only its address is known.
    package let name: String?
    /// The address as text, without brackets; empty where it is not known.
    package let address: String
    package let port: Int?

    package init(name: String?, address: String, port: Int? = nil) {
        self.name = name
        self.address = address
        self.port = port
    }

    /// Reads the text form. Anything else is a name: nothing that a deliverer says of a host is lost.
    package init(_ text: String) {
        let octets = text.utf8
        guard let open = octets.lastIndex(of: UInt8(ascii: "[")), let close = octets.lastIndex(of: UInt8(ascii: "]")),
            open < close
        else {
            self.init(name: text, address: "")
            return
        }
        let name = octets[..<open].filter { $0 != .space }
        let rest = octets[octets.index(after: close)...]
        let port = rest.first == UInt8(ascii: ":") ? Int(String(decoding: rest.dropFirst(), as: UTF8.self)) : nil
        self.init(
            name: name.isEmpty ? nil : String(decoding: name, as: UTF8.self),
            address: String(decoding: octets[octets.index(after: open)..<close], as: UTF8.self),
            port: port
        )
    }

    package var description: String {
        var text = name ?? ""
        if !address.isEmpty { text += text.isEmpty ? "[\(address)]" : " [\(address)]" }
        if let port { text += ":\(port)" }
        return text
    }
}
