/** The server's own accounts, over HTTP. Nothing is kept: what becomes of a token is the caller's decision. */
export declare class Accounts {
    #private;
    /** `url`: where the server is, such as `https://chat.example`. */
    constructor(url: string | URL);
    /** Whether people register and log in here, or their tokens come from another service. */
    builtIn(signal?: AbortSignal): Promise<boolean>;
    /** Makes an account. Password: 8 to 256 bytes. */
    register(account: {
        name: string;
        email: string;
        password: string;
    }): Promise<{
        id: string;
        name: string;
    }>;
    /** An access token. */
    logIn(account: {
        email: string;
        password: string;
    }): Promise<string>;
    /** Calls a token back: it is refused from now on, and its connections are closed. */
    logOut(token: string): Promise<void>;
}
