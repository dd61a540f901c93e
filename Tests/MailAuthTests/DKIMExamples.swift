import Cryptography
import DNS
import MailAuth

/// Messages and keys that RFCs publish.
enum DKIMExamples {
    static let message = """
        From: Joe SixPack <joe@football.example.com>
        To: Suzie Q <suzie@shopping.example.net>
        Subject: Is dinner ready?
        Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)
        Message-ID: <20030712040037.46341.5F8J@football.example.com>

        Hi.

        We lost the game. Are you hungry yet?

        Joe.

        """

    /// RFC 6376 appendix A.2.
    static let rfc6376 =
        """
        DKIM-Signature: v=1; a=rsa-sha256; s=brisbane; d=example.com;
              c=simple/simple; q=dns/txt; i=joe@football.example.com;
              h=Received : From : To : Subject : Date : Message-ID;
              bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
              b=AuUoFEfDxTDkHlLXSZEpZj79LICEps6eda7W3deTVFOk4yAUoqOB
              4nujc7YopdG5dWLSdNg6xNAZpOPr+kHxt1IrE+NahM6L/LbvaHut
              KVdkLLkpVaVVQPzeRDI009SO2Il5Lu7rDNH6mZckBdrIx0orEtZV
              4bmp/YzhwvcubU4=;
        Received: from client1.football.example.com  [192.0.2.1]
              by submitserver.example.com with SUBMISSION;
              Fri, 11 Jul 2003 21:01:54 -0700 (PDT)

        """ + message

    /// RFC 8463 appendix A.3.
    static let rfc8463 =
        """
        DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;
         d=football.example.com; i=@football.example.com;
         q=dns/txt; s=brisbane; t=1528637909; h=from : to :
         subject : date : message-id : from : subject : date;
         bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
         b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus
         Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==
        DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed;
         d=football.example.com; i=@football.example.com;
         q=dns/txt; s=test; t=1528637909; h=from : to : subject :
         date : message-id : from : subject : date;
         bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
         b=F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3
         DhCVlUrSjV4BwcVcOF6+FF3Zo9Rpo1tFOeS9mPYQTnGdaSGsgeefOsk2Jz
         dA+L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUxZQ4FADY+8=

        """ + message

    /// RFC 6376 appendix A.3, RFC 8463 appendix A.2.
    static let zone = """
        brisbane._domainkey.example.com. IN TXT ( "v=DKIM1; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQ"
          "KBgQDwIRP/UC3SBsEmGqZ9ZJW3/DkMoGeLnQg1fWn7/zYt"
          "IxN2SnFCjxOCKG9v3b4jYfcTNh5ijSsq631uBItLa7od+v"
          "/RtdC2UzJ1lWT947qR+Rcac2gbto/NMqJ0fzfVjH4OuKhi"
          "tdY9tf6mcwGjaNBcWToIMmPSPDdQPNUYckcQ2QIDAQAB" )
        brisbane._domainkey.football.example.com. IN TXT (
          "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=" )
        test._domainkey.football.example.com. IN TXT (
          "v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWR"
          "iGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/byYzCNb3W91y3FutAC"
          "DfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3"
          "Ip3G+2kryOTIKT+l/K4w3QIDAQAB" )
        """
}

/// The text with the line ends of mail.
func crlf(_ text: String) -> [UInt8] {
    text.utf8.flatMap { $0 == 10 ? [13, 10] : [$0] }
}

/// A message hashed in one piece.
func hashed(_ octets: [UInt8], _ methods: [BodyHashMethod] = [], limits: SignatureLimits = .init()) -> HashedMessage {
    let hasher = MessageHasher(methods: methods, limits: limits)
    hasher.feed(octets)
    return hasher.finish()
}

/// A key pair with a name, made once.
struct NamedKey: Sendable {
    let signing: SigningKey
    let line: String

    init(_ kind: KeyKind, selector: String, domain: String = "example.org") {
        guard let key = PrivateKey.generate(kind, bits: 1024),
            let signing = try? SigningKey(domain: Array(domain.utf8), selector: Array(selector.utf8), key: key)
        else { fatalError("no key") }
        self.signing = signing
        line = String(decoding: signing.masterFileLine, as: UTF8.self)
    }

    static let rsa = NamedKey(.rsa, selector: "rsa")
    static let ed25519 = NamedKey(.ed25519, selector: "ed")

    /// A zone with both keys.
    static func zone(_ more: String = "", failing: [String] = []) throws -> ZoneLookup {
        try MailAuthTests.zone("\(rsa.line)\n\(ed25519.line)\n\(more)", failing: failing)
    }
}
