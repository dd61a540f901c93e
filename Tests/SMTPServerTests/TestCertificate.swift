/// A self-signed certificate for mail.example.test that nothing but these tests uses.
enum TestCertificate {
    static let certificate = """
        -----BEGIN CERTIFICATE-----
        MIIBjjCCATWgAwIBAgIUW4BrPAdyVDMpqc2vQnsp9cNn8PYwCgYIKoZIzj0EAwIw
        HDEaMBgGA1UEAwwRbWFpbC5leGFtcGxlLnRlc3QwIBcNMjYxMTIzMTU1NjUwWhgP
        MjEyNjEwMzAxNTU2NTBaMBwxGjAYBgNVBAMMEW1haWwuZXhhbXBsZS50ZXN0MFkw
        EwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAESyf6eKFC3FErg/hresIz2h3kzyHN48ex
        le4KXiZkNvFJu1rzcU6kgljXi+4Xfp69ib0jtZvaJFS0nshFX5PjKqNTMFEwHQYD
        VR0OBBYEFNc6ZZKnvf5kuVOyqiGoPAmrQx+BMB8GA1UdIwQYMBaAFNc6ZZKnvf5k
        uVOyqiGoPAmrQx+BMA8GA1UdEwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDRwAwRAIg
        exRtu/EWXJbR2Tbm5dKXvX/iW0pXtQ85Lyvt6784+XUCIHvrgaDC99aLg1O5ng5b
        gjl6KFuDXkCVku1O4vVEqhFm
        -----END CERTIFICATE-----

        """

    static let privateKey = """
        -----BEGIN PRIVATE KEY-----
        MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg2OmzuMIJd4uOCvCn
        MNL+/ha8wsYKU7TtBXeXifxGr6+hRANCAARLJ/p4oULcUSuD+Gt6wjPaHeTPIc3j
        x7GV7gpeJmQ28Um7WvNxTqSCWNeL7hd+nr2JvSO1m9okVLSeyEVfk+Mq
        -----END PRIVATE KEY-----

        """
}
